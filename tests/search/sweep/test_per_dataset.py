"""A sweep over several datasets: what each has for itself, and what is said of mistakes in it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import datasets
from search.checks.load_sweep import checked, load
from search.run.run_folder import RunFolder
from search.study.plan import plans
from search.study.resolved_sweep import as_yaml, differences
from search.study.study import studies
from search.sweep.per_dataset import by_dataset, path_in_dataset, path_in_file
from tests.search.play import SWEEP, carry_out, counts, open_ledger
from tests.search.refused import problems, the_problem

OTHER = "OtherDigits"


@pytest.fixture(autouse=True)
def other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second dataset that needs no files."""
    monkeypatch.setitem(datasets.DATASETS, OTHER, datasets.DATASETS["RotatedDigits"])


def several(of_other: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    data = {key: value for key, value in SWEEP.items() if key not in ("dataset", "held_out")}
    first = {"held_out": ["0", "75"]}
    return {**data, "datasets": {"RotatedDigits": first, OTHER: of_other or {}}, **changes}


def refused(of_other: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    data = several(of_other, **changes)
    return problems(**{**data, "dataset": None})


def refused_once(of_other: dict[str, Any] | None = None, **changes: Any) -> str:
    (line,) = refused(of_other, **changes)
    return line


def test_each_dataset_has_its_domains_and_its_keys_of_training():
    sweep = checked(several({"training": {"steps": 180}}), "x")
    parts = by_dataset(sweep)
    assert {name: one.training.steps for name, one in parts.items()} == {
        "RotatedDigits": 90,
        OTHER: 180,
    }
    assert parts[OTHER].training.evaluate_every == 10
    found = studies(sweep)
    assert [(s.dataset, s.held_out) for s in found[:3]] == [
        ("RotatedDigits", "0"),
        ("RotatedDigits", "75"),
        (OTHER, "0"),
    ]
    assert len(found) == 8
    run = plans(sweep)[found[-1].id].trial(0, {}).run
    assert (run.dataset, run.steps, run.evaluate_every) == (OTHER, 180, 10)


def test_the_resolved_file_launches_the_same_sweep_and_names_what_differs(tmp_path):
    sweep = checked(several({"training": {"steps": 180}}), "x")
    (tmp_path / "sweep.yaml").write_text(as_yaml(sweep))
    again = load(tmp_path / "sweep.yaml")
    assert differences(again, sweep) == []
    assert as_yaml(again) == as_yaml(sweep)
    written = yaml.safe_load(as_yaml(sweep))
    assert "dataset" not in written
    assert written["datasets"]["RotatedDigits"]["held_out"] == ["0", "75"]
    assert written["datasets"][OTHER]["training"] == {"steps": 180}
    other = load(tmp_path / "sweep.yaml", [f"datasets.{OTHER}.training.steps=90"])
    assert differences(other, sweep) == [
        f"datasets.{OTHER}.training.steps: 90 here, 180 in the run"
    ]


@pytest.mark.parametrize(
    ("of_other", "sentence"),
    [
        ({"rot": "x"}, "datasets.OtherDigits.rot is not a key; did you mean root?"),
        ({"steps": 9}, "datasets.OtherDigits.steps is not a key; did you mean datasets.OtherDig"),
        ({"trials": 9}, "datasets.OtherDigits.trials is not a key; did you mean search.trials?"),
        ({"training": {"stps": 9}}, "datasets.OtherDigits.training.stps is not a key; did you m"),
        ({"training": {"steps": 0}}, "datasets.OtherDigits.training.steps is 0; it must be at l"),
        ({"training": {"lr": 1}}, "datasets.OtherDigits.training.lr is not a key; it is a hype"),
        ({"training": {"momentum": 0.5}}, "datasets.OtherDigits.training.momentum is 0.5 but has"),
        ({"held_out": "0"}, "datasets.OtherDigits.held_out is '0'; it must be all or a list"),
        ({"held_out": [7]}, "datasets.OtherDigits.held_out[0] is '7', no domain of OtherDigits"),
        ({"held_out": [0, 0]}, "datasets.OtherDigits.held_out[1] is '0', which the list already"),
        ({"size": 8}, "datasets.OtherDigits.size is 8, but OtherDigits has one size"),
        (
            {"training": {"averaging": "swad"}},
            "datasets.OtherDigits.training.averaging would give a row of the tables one average",
        ),
        (
            {"training": {"steps": 5}},
            "training.evaluate_every is 10; it must be at most training.steps, 5 (OtherDigits)",
        ),
    ],
)
def test_a_mistake_of_one_dataset_is_told_at_its_place(of_other, sentence):
    assert refused_once(of_other).startswith(sentence)


def test_a_mistake_that_all_share_is_told_once():
    assert refused_once(algorithms=["SGAM"]).startswith("algorithms[0] cannot be used")
    assert refused_once(training={"momentum": 0.5}).startswith("training.momentum is 0.5 but has")


def test_datasets_that_are_none_are_told():
    changes = {"RotatedDigits": {}, "PAC": {}, "PACS": {}, "VLCS": None}
    lines = refused(datasets=changes)
    assert [line.split(";")[0] for line in lines] == [
        "datasets.VLCS is empty",
        "datasets.PAC is 'PAC'",
        "datasets.PACS.root is missing",
    ]
    line = refused_once(datasets=["PACS"])
    assert line.startswith("datasets is [PACS]; it must be a mapping of names, such as {PACS: {ro")


def test_of_domains_of_datasets_that_cannot_be_read_nothing_is_said():
    for unreadable in (3, {"PACS": 3}, {"PACS": {"root": 3}}):
        assert len(refused(datasets=unreadable, held_out=["photo"])) == 1


def test_a_sweep_has_one_dataset_or_several():
    line = the_problem(datasets={OTHER: {}})
    assert line == "datasets stands beside `dataset`; a sweep has one of them: keep one"
    missing = "dataset is missing; add it, such as dataset: {name: RotatedDigits}"
    assert the_problem(dataset=None) == missing
    assert the_problem(dataset=None, datasets={}) == missing


def test_a_key_that_each_dataset_has_for_itself_is_idle():
    own = {"training": {"steps": 60}, "held_out": ["0"]}
    changes = {"datasets": {"RotatedDigits": own, OTHER: own}}
    training = {"steps": 90, "evaluate_every": 10}
    assert refused(training=training, held_out=["15"], **changes) == [
        "held_out has no effect: each dataset has its own; remove it",
        "training.steps is 90 but has no effect: each dataset has its own; remove it",
    ]


def test_a_key_that_acts_for_one_dataset_is_taken(tmp_path):
    for domain in ("day", "night"):
        for label in ("cat", "dog"):
            (tmp_path / domain / label).mkdir(parents=True)
    both = {"RotatedDigits": {}, "ImageFolders": {"root": str(tmp_path)}}
    training = {"augmentation": "none"}
    assert checked(several(datasets=both, training=training), "x")
    line = refused_once(training=training)
    assert line.startswith("training.augmentation is 'none' but has no effect: ")


def test_places_in_the_file_and_in_a_datasets_part_are_each_others_inverse():
    sweep = checked(several({"training": {"steps": 180}}), "x")
    for path in (
        ("dataset", "root"),
        ("training", "steps"),
        ("training", "optimizer"),
        ("held_out", 0),
        ("search", "space", "lr"),
    ):
        for name in sweep.datasets:
            assert path_in_dataset(sweep, name, path_in_file(sweep, name, path)) == path
    of_other = ("datasets", OTHER, "training", "steps")
    assert path_in_file(sweep, OTHER, ("training", "steps")) == of_other
    assert path_in_dataset(sweep, "RotatedDigits", of_other) == of_other


def test_trials_of_each_dataset_are_stopped_by_its_own_steps(tmp_path):
    """The longer runs begin to be compared later, and a last report stops nothing."""
    search = {**SWEEP["search"], "scheduler": "asha", "trials": 6}
    sweep = checked(
        several({"training": {"steps": 270}, "held_out": ["0"]}, search=search), "sweep.yaml"
    )
    folder = RunFolder(tmp_path / "run")
    ledger = open_ledger(sweep, folder)
    stopped: dict[str, set[int]] = {"RotatedDigits": set(), OTHER: set()}
    while (spec := ledger.next()) is not None:
        value = 0.9 - 0.1 * spec.number
        step = carry_out(ledger, folder, spec, lambda step, value=value: value)
        if step is not None:
            stopped[spec.study.dataset].add(step)
    assert stopped["RotatedDigits"]
    assert min(stopped["RotatedDigits"]) == 10
    assert min(stopped[OTHER]) == 20
    assert counts(ledger)["SAGM"]["completed"] > 0
