"""What tables say of where the settings came from."""

import dataclasses
import json

import pytest

from search.report.method_tables import by_method
from search.report.reported_run import read
from search.results import BY, compare, load, summary
from search.results.loading import main_method
from search.results.print_results import print_comparison, print_results
from search.run import manifest
from search.run.run_folder import MANIFEST
from search.sweep.schema import Search, Sweep, saw_held_out
from tests.search import written_run

OVER_SEEDS = {"objective_over": "seeds"}
HONEST = [
    {},
    {"share": "none", "warm_start": None, "seed_reduction": None},
    {"share": "seeds"},
    {"warm_start": {"runs": ["/a"], "settings": 3, "held_out": "same"}},
    {"seed_reduction": 3},
    OVER_SEEDS,
]
MARKED = [
    {"share": "domains"},
    {"warm_start": {"runs": ["/a"], "settings": 3, "held_out": "any"}},
]


def written(place, search, **changes):
    """A run of two algorithms on one held-out domain, and one seed."""
    few = {"algorithms": ["ERM", "SAM"], "held_out": ["cartoon"], "seeds": [0], **changes}
    data = written_run.sweep(search={"trials": 2, **search}, **few)
    return written_run.write(place, data, trials=2).uri


def with_published_and_averages(run, lr):
    """A loaded run whose first trial has this lr, and whose last evaluations are of an average."""
    trials = run.trials.assign(hp_lr=[lr, *run.trials["hp_lr"][1:]])
    last = run.evaluations["step"] == run.evaluations["step"].max()
    weights = ["average" if at_end else "iterate" for at_end in last]
    evaluations = run.evaluations.assign(weights=weights)
    return dataclasses.replace(run, trials=trials, evaluations=evaluations)


@pytest.mark.parametrize("search", HONEST)
def test_what_passes_between_studies_of_one_held_out_domain_is_honest(tmp_path, search):
    assert saw_held_out(Search.model_validate(search)) == []
    (table,) = summary(load(written(tmp_path / "run", search))).tables
    assert not [note for note in table.notes if "honest" in note]
    luck = [note for note in table.notes if "leave out the luck of the search" in note]
    assert bool(luck) == (search in ({"share": "seeds"}, {"seed_reduction": 3}, OVER_SEEDS))


@pytest.mark.parametrize("search", MARKED)
def test_what_held_out_labels_have_shaped_is_marked_in_every_table(tmp_path, search, capsys):
    assert len(saw_held_out(Search.model_validate(search))) == 1
    run = written(tmp_path / "run", search)
    found = load(run)
    for by in BY:
        for table in summary(found, by).tables:
            assert len([n for n in table.notes if ": not the honest protocol, " in n]) == 1
    assert len(compare(found, "SAM", "ERM"))
    print_comparison([run], None, "training-domain", "table")
    assert "not the honest protocol" in capsys.readouterr().out


def test_the_report_has_the_notes_of_the_results_below_each_of_its_tables(tmp_path):
    search = {**MARKED[0], "scheduler": "asha"}
    run = written(tmp_path / "run", search)
    (table,) = summary(with_published_and_averages(load(run), 3e-5)).tables
    of_run = [note.removeprefix("run: ") for note in table.notes if note.startswith("run: ")]
    for said in ("not the honest protocol, ", "published for PACS", "asha compared the iterates"):
        assert any(said in note for note in of_run), said
    shown, _ = by_method(with_published_and_averages(read(run), 3e-5))
    assert len(shown) > 2
    for those in shown:
        assert set(of_run) <= {note.removeprefix("written: ") for note in those.tables[0].notes}


@pytest.mark.parametrize(
    ("objective", "method"),
    [
        ("training-domain", "training-domain"),
        ("worst-source-domain", "worst-source-domain"),
        ("leave-one-domain-out", "leave-one-domain-out"),
        (["last-step", "worst-source-domain"], "last-step"),
        ("oracle", "training-domain"),
    ],
)
def test_results_are_by_the_objective_unless_it_sees_the_held_out_domain(objective, method):
    one, other = (
        Sweep.model_validate(written_run.sweep(search=search))
        for search in ({"objective": objective}, {})
    )
    assert main_method([one]) == method
    assert main_method([one, other]) == "training-domain"


def test_every_command_is_by_the_method_of_the_objective(tmp_path, capsys):
    run = written(tmp_path / "run", {"objective": "worst-source-domain"})
    print_results([run])
    assert "worst-source-domain selection" in capsys.readouterr().out.splitlines()[0]
    print_comparison([run], None, None, "table")
    assert "worst-source-domain selection" in capsys.readouterr().out.splitlines()[0]
    assert set(read(run).main["method"]) == {"worst-source-domain"}


def test_the_manifest_says_it_too(folder):
    manifest.record(folder, [], saw_held_out(Search.model_validate(MARKED[0])))
    (why,) = json.loads(folder.read_bytes(MANIFEST))["saw_held_out"]
    assert "share: domains" in why
    manifest.record(folder, [], saw_held_out(Search.model_validate(MARKED[0])))  # a resume
    assert json.loads(folder.read_bytes(MANIFEST))["saw_held_out"] == [why]


@pytest.mark.parametrize(
    ("dataset", "lr", "sampler", "said"),
    [
        ("PACS", 3e-5, "random", True),
        ("PACS", 5e-5, "random", False),  # DomainBed's default
        ("VLCS", 3e-5, "random", False),  # published for another dataset
        ("PACS", 3e-5, "grid", False),
    ],
)
def test_settings_published_for_the_dataset_are_told_where_they_were_tried(
    tmp_path, dataset, lr, sampler, said
):
    space = {"lr": {"log_uniform": [1e-5, 1e-3]}}
    search = {"sampler": sampler, "space": {"ERM": space}}
    run = written(tmp_path / "run", search, dataset={"name": dataset}, algorithms=["ERM"])
    (table,) = summary(with_published_and_averages(load(run), lr)).tables
    assert any(f"published for {dataset}" in note for note in table.notes) == said


@pytest.mark.parametrize(
    ("averages", "scheduler", "said"),
    [(True, "asha", True), (False, "asha", False), (True, "none", False)],
)
def test_that_pruning_compared_iterates_is_said_where_results_are_averages(
    tmp_path, averages, scheduler, said
):
    found = load(written(tmp_path / "run", {"scheduler": scheduler}))
    (table,) = summary(with_published_and_averages(found, 3e-5) if averages else found).tables
    assert any("asha compared the iterates of ERM, SAM" in note for note in table.notes) == said
