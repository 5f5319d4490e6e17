"""The front of a study with two objectives."""

from __future__ import annotations

import pandas as pd
import pytest

from search import results
from search.errors import SteppeError
from search.results.fronts import on_front
from search.results.print_results import print_importance, print_pareto, print_results
from search.run.run_folder import RunFolder
from tests.search.report import played_run
from tests.search.written_run import sweep, write

TWO = {"objective": ["training-domain", "worst-source-domain"], "trials": 6}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(1, 1)], [True]),
        ([(1, 3), (2, 2), (3, 1)], [True, True, True]),
        ([(1, 3), (2, 2), (2, 1), (0, 3)], [True, True, False, False]),
        ([(1, 1), (1, 1), (0, 1)], [True, True, False]),  # equals beat each other in nothing
        ([(1, 1), (1, 2)], [False, True]),
    ],
)
def test_on_it_is_what_no_other_equals_in_one_and_exceeds_in_the_other(values, expected):
    frame = pd.DataFrame(values, columns=["objective", "objective_2"]).assign(study="s")
    # Another study has a front of its own.
    both = pd.concat([frame[::-1], frame.assign(study="t")])
    assert on_front(both).tolist() == expected[::-1] + expected


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    sweep = played_run.several(algorithms=["ERM", "SAM"], seeds=[0], search=TWO)
    played_run.play(sweep, folder)
    return str(folder.root)


def test_the_front_has_completed_trials_with_both_values_and_hyperparameters(run):
    found = results.load(run)
    frame = results.pareto(found)
    done = found.trials[found.trials["state"] == "completed"]
    assert set(frame["trial"]) == set(done.loc[on_front(done), "trial"])
    assert 4 <= len(frame) < len(done)
    assert frame["objective_2"].notna().all()
    assert "hp_rho" in frame
    for _, study in frame.groupby("study"):
        assert study["objective"].is_monotonic_decreasing
        assert study["objective_2"].is_monotonic_increasing


def test_it_is_printed_a_table_for_each_algorithm(run, capsys):
    print_pareto([run], "markdown")
    shown = capsys.readouterr().out
    assert shown.count("trials that no other of their study beats in both") == 2
    assert "training-domain | worst-source-domain |" in shown


def test_a_search_with_one_objective_has_none(tmp_path):
    data = sweep(algorithms=["ERM"], held_out=["photo"], seeds=[0])
    with pytest.raises(SteppeError, match=r"has one objective.*search\.objective: "):
        results.pareto(results.load(write(tmp_path / "r", data, trials=1).uri))


def test_a_search_that_saw_the_held_out_domain_says_so_in_every_table(folder, capsys):
    search = {**TWO, "objective": ["oracle", "last-step"], "allow_oracle": True, "trials": 24}
    sweep = played_run.several(algorithms=["SAM"], held_out=["0"], seeds=[0], search=search)
    played_run.play(sweep, folder)
    run = str(folder.root)
    for show in (print_results, lambda runs: print_pareto(runs, "table")):
        show([run])
        assert "not the honest protocol, search.objective: oracle" in capsys.readouterr().out
    print_importance([run], "csv")
