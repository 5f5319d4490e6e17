"""What tables say of where the settings came from."""

import dataclasses
import json

import pytest

from search.report.method_tables import by_method
from search.report.reported_run import read
from search.results import compare, load, summary
from search.results.loading import main_method
from search.results.notes import saw_held_out
from search.results.print_results import print_comparison, print_results
from search.run import manifest
from search.run.run_folder import MANIFEST, RunFolder
from search.sweep.schema import Search, Sweep
from tests.search import written_run

HONEST = [
    {},
    {"share": "none", "warm_start": None, "seed_reduction": None},
    {"share": "seeds"},
    {"warm_start": {"runs": ["/a"], "settings": 3, "held_out": "same"}},
    {"seed_reduction": 3},
    {"objective_over": "seeds"},
]
MARKED = [
    {"share": "domains"},
    {"warm_start": {"runs": ["/a"], "settings": 3, "held_out": "any"}},
]


def written(place, search):
    few = {"held_out": ["art_painting", "cartoon"], "seeds": [0]}
    return written_run.write(place, written_run.sweep(search={"trials": 4, **search}, **few)).uri


def notes_of(run):
    return [table.notes for by in ("held-out", "method") for table in summary(load(run), by).tables]


@pytest.mark.parametrize("search", HONEST)
def test_what_passes_between_studies_of_one_held_out_domain_is_honest(tmp_path, search):
    assert saw_held_out(Search.model_validate(search)) == []
    for notes in notes_of(written(tmp_path / "run", search)):
        assert not [note for note in notes if "honest" in note]
        luck = [note for note in notes if "leave out the luck of the search" in note]
        tied = ({"share": "seeds"}, {"seed_reduction": 3}, {"objective_over": "seeds"})
        assert bool(luck) == (search in tied)


@pytest.mark.parametrize("search", MARKED)
def test_what_held_out_labels_have_shaped_is_marked_in_every_table(tmp_path, search, capsys):
    assert len(saw_held_out(Search.model_validate(search))) == 1
    run = written(tmp_path / "run", search)
    tables = notes_of(run)
    tables += [table.notes for shown in by_method(read(run))[0] for table in shown.tables]
    for notes in tables:
        assert len([note for note in notes if ": not the honest protocol, " in note]) == 1
    assert len(compare(load(run), "SAGM", "ERM"))
    print_comparison([run], None, "training-domain", "table")
    assert "not the honest protocol" in capsys.readouterr().out


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
def test_results_are_by_the_objective_unless_it_sees_the_held_out_domain(
    tmp_path, capsys, objective, method
):
    run = written(tmp_path / "run", {"objective": objective})
    print_results([run])
    assert f"{method} selection" in capsys.readouterr().out.splitlines()[0]
    print_comparison([run], None, None, "table")
    assert f"{method} selection" in capsys.readouterr().out.splitlines()[0]
    assert set(read(run).main["method"]) == {method}
    sweeps = [
        Sweep.model_validate(written_run.sweep(search=search))
        for search in ({"objective": objective}, {})
    ]
    assert main_method(sweeps) == "training-domain"


def test_the_manifest_says_it_too(tmp_path):
    folder = RunFolder(tmp_path)
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
    data = written_run.sweep(
        dataset={"name": dataset},
        algorithms=["ERM"],
        held_out=["a", "b"],
        seeds=[0],
        search={"trials": 2, "sampler": sampler, "space": {"ERM": space}},
    )
    folder = written_run.write(tmp_path / "run", data)
    found = load(folder.uri)
    trials = found.trials.assign(hp_lr=[lr, 2e-5] * (len(found.trials) // 2))
    found = dataclasses.replace(found, trials=trials)
    notes = [note for table in summary(found).tables for note in table.notes]
    reported = dataclasses.replace(read(folder.uri), trials=trials)
    notes_of_report = [note for shown in by_method(reported)[0] for note in shown.tables[0].notes]
    for those in (notes, notes_of_report):
        assert any(f"published for {dataset}" in note for note in those) == said


@pytest.mark.parametrize(
    ("averaging", "scheduler", "said"),
    [("swad", "asha", True), ("none", "asha", False), ("swad", "none", False)],
)
def test_that_pruning_compared_iterates_is_said_where_results_are_averages(
    tmp_path, averaging, scheduler, said
):
    data = written_run.sweep(
        algorithms=["ERM", "SAM"],
        held_out=["cartoon"],
        seeds=[0],
        search={"trials": 4, "scheduler": scheduler},
    )
    data["training"] |= {"averaging": averaging}
    folder = written_run.write(tmp_path / "run", data)
    found = load(folder.uri)
    last = found.evaluations["step"] == found.evaluations["step"].max()
    weights = ["average" if averaging != "none" and at_end else "iterate" for at_end in last]
    evaluations = found.evaluations.assign(weights=weights)
    notes = summary(dataclasses.replace(found, evaluations=evaluations)).tables[0].notes
    reported = read(folder.uri)
    (shown, *_), _ = by_method(dataclasses.replace(reported, evaluations=evaluations))
    for those in (notes, shown.tables[0].notes):
        assert any("asha compared the iterates of ERM, SAM" in note for note in those) == said
