"""Tables at equal cost."""

from __future__ import annotations

import pandas as pd
import pytest

from search import results
from search.errors import SteppeError
from search.results.candidates import within_passes
from search.results.print_results import print_comparison, print_results
from tests.search.written_run import sweep, write


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = sweep(held_out=["photo"], seeds=[0])
    return write(tmp_path_factory.mktemp("run") / "r", data, trials=2).uri


@pytest.fixture(scope="module")
def found(run):
    return results.load(run)


def test_each_trial_speaks_through_what_it_had_reached_by_then(found):
    """A step of ERM costs 1, of SAM and SAGM 2: 150 passes are 100 steps of ERM, none of these."""
    steps = {}
    for passes in (150, 200, 399, 400):
        equal = results.at_cost(found, passes)
        best = equal.evaluations.groupby("trial")["step"].max()
        named = best.groupby(lambda trial: trial.split(".")[2]).unique()
        steps[passes] = {name: values.tolist() for name, values in named.items()}
        chosen = results.select(equal, "last-step")
        assert set(chosen["step"]) == {step for own in steps[passes].values() for step in own}
    assert steps == {
        150: {"ERM": [100], "SAGM": [0], "SAM": [0]},
        200: {"ERM": [200], "SAGM": [100], "SAM": [100]},
        399: {"ERM": [200], "SAGM": [100], "SAM": [100]},
        400: {"ERM": [200], "SAGM": [200], "SAM": [200]},
    }


def test_tables_and_comparisons_say_so(run, found, capsys):
    label = "at equal cost: what each completed trial had reached after 200"
    for table in results.summary(results.at_cost(found, 200)).tables:
        assert any(note.startswith(label) for note in table.notes)
    print_results([run], passes=200)
    print_comparison([run], "ERM", "training-domain", "markdown", 200)
    assert capsys.readouterr().out.replace("\n", " ").count("at equal cost") == 2


def test_a_limit_below_the_first_evaluation_leaves_nothing_and_says_why(found):
    whole = results.at_cost(found, 0.5).evaluations
    assert set(whole["step"]) == {0}
    nothing = found.evaluations[found.evaluations["step"] > 0]
    equal = results.at_cost(results.replace(found, evaluations=nothing), 0.5)
    (reason,) = set(results.select(equal)["reason"])
    assert reason.endswith("every source domain at one step within 0.5 passes")


def test_a_trial_whose_average_came_later_has_nothing():
    frame = pd.DataFrame(
        {
            "trial": ["a", "a", "b", "b"],
            "step": [10, 20, 10, 20],
            "weights": ["iterate", "average", "iterate", "iterate"],
            "passes": [10.0, 20.0, 10.0, 20.0],
        }
    )
    assert within_passes(frame, 15)[["trial", "step"]].to_numpy().tolist() == [["b", 10]]
    assert len(within_passes(frame, 20)) == 4


@pytest.mark.parametrize("passes", [0, -1, float("nan")])
def test_a_limit_is_above_nothing(found, passes):
    with pytest.raises(SteppeError, match=r"--passes .*: it must be above 0"):
        results.at_cost(found, passes)


def test_tables_without_passes_and_what_is_of_whole_trials_are_refused(found):
    old = results.replace(found, evaluations=found.evaluations.assign(passes=float("nan")))
    with pytest.raises(SteppeError, match="have no passes"):
        results.at_cost(old, 100)
    with pytest.raises(SteppeError, match="of whole trials"):
        results.importance(results.at_cost(found, 100))
