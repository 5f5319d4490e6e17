"""What several runs average together is the same data, model and training, or is told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from search import results
from search.errors import SteppeError
from search.results.summaries import ResultTable
from search.run.run_folder import MANIFEST
from tests.search.written_run import sweep, without_winners, write

SMALL: dict[str, Any] = {"held_out": ["photo"], "algorithms": ["ERM", "SAM"], "seeds": [0]}


def run(
    place: Path, data: str | None = "same", trials: int = 1, sha256: str = "", **changes: Any
) -> Path:
    """A run of one held-out domain and two methods over images with this fingerprint.

    sha256: of its file of weights, if it has one.
    """
    written = sweep(**{"name": place.name, **SMALL, **changes})
    folder = write(place, written, trials=trials)
    if data is not None:
        names = written.get("datasets") or [written["dataset"]["name"]]
        manifest = {"datasets": dict.fromkeys(names, data), "sessions": []}
        manifest |= {"weights": {"sha256": sha256}} if sha256 else {}
        folder.write_bytes(MANIFEST, json.dumps(manifest).encode())
    return place


def tables(*runs: Path, by: str = "held-out") -> list[ResultTable]:
    return list(results.summary(results.load(*runs), by).tables)


def test_other_images_under_one_name_are_another_dataset(tmp_path):
    places = [
        run(tmp_path / name, data, seeds=[seed])
        for name, data, seed in (("a", "1" * 64, 0), ("b", "2" * 64, 0), ("c", "1" * 64, 1))
    ]
    first, second, both = tables(*places)
    assert [c.dataset for c in first.columns] == ["PACS (a)"]
    assert [c.dataset for c in second.columns] == ["PACS (b)"]
    assert {cell.seeds for cell in first.rows["ERM"]} == {2}  # of a and c
    assert {cell.seeds for cell in second.rows["ERM"]} == {1}
    for table in (first, second, both):
        (note,) = (note for note in table.notes if "different images" in note)
        assert "111111111111 in a and c" in note
        assert "222222222222 in b" in note


def test_a_run_that_does_not_say_what_its_images_were_is_named(tmp_path):
    known, silent = run(tmp_path / "a", seeds=[0]), run(tmp_path / "b", None, seeds=[1])
    [table] = tables(known, silent)
    assert "not recorded in b" in " ".join(table.notes)
    [table] = tables(known, run(tmp_path / "c", seeds=[1]))
    assert without_winners(table.notes) == ()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training": {"steps": 50, "evaluate_every": 100}}, "training.steps"),
        ({"model": {"name": "resnet50", "weights": None}}, "model.weights"),
        ({"search": {"trials": 8}}, "search.trials"),
        ({"search": {"trials": 4, "objective": "oracle"}}, "search.objective"),
    ],
)
def test_seeds_of_another_training_or_search_are_rows_of_their_own(tmp_path, changes, key):
    usual = {"search": {"trials": 4, "objective": "training-domain"}}
    a = run(tmp_path / "a", seeds=[0, 1], **usual)
    b = run(tmp_path / "b", seeds=[2], **{**usual, **changes})
    [table] = tables(a, b)
    assert list(table.rows) == ["ERM (a)", "SAM (a)", "ERM (b)", "SAM (b)"]
    assert table.rows["ERM (a)"][0].note == "2 of 3 seeds"
    assert any(f"a and b differ in {key}" in note and "ERM, SAM" in note for note in table.notes)


def test_the_range_of_one_method_tells_only_its_rows_apart(tmp_path):
    b = sweep()["search"]["space"] | {"SAM": {"lr": {"log_uniform": [1e-4, 1e-2]}}}
    other = run(tmp_path / "b", seeds=[1], search={"trials": 4, "space": b})
    [table] = tables(run(tmp_path / "a", seeds=[0]), other)
    assert list(table.rows) == ["ERM", "SAM (a)", "SAM (b)"]
    assert any("search.space.lr" in note for note in table.notes)


def test_what_changes_no_number_keeps_rows_together(tmp_path):
    training = {"steps": 200, "evaluate_every": 100}
    quick = {**training, "device": "cuda", "augmentation": "device", "checkpoint_seconds": 5}
    slow = {**training, "device": "cpu", "augmentation": "exact", "tuning_of_old": "none"}
    search = {"trials": 4, "budget": {"trials": None}}
    a = run(tmp_path / "a", seeds=[0], training=quick, search={**search, "seed": 1})
    b = run(tmp_path / "b", seeds=[1], training=slow, search={**search, "share": "none"})
    [table] = tables(a, b)
    assert list(table.rows) == ["ERM", "SAM"]


def test_averages_over_datasets_are_of_one_model(tmp_path):
    a = run(tmp_path / "a", "1")
    other = {"name": "resnet50", "weights": None}
    b = run(tmp_path / "b", "2", dataset={"name": "VLCS"}, model=other)
    *_, table = tables(a, b)
    assert list(table.rows) == ["ERM (a)", "SAM (a)", "ERM (b)", "SAM (b)"]
    assert table.rows["ERM (a)"][-1].note == "1 of 2 datasets"
    long = run(tmp_path / "c", "2", dataset={"name": "VLCS"}, training={"steps": 900})
    *_, table = tables(a, long)  # each dataset has steps of its own
    assert list(table.rows) == ["ERM", "SAM"]


def test_the_same_images_under_two_names_are_told(tmp_path):
    *_, table = tables(
        run(tmp_path / "a", "1"), run(tmp_path / "b", "1", dataset={"name": "ImageFolders"})
    )
    assert any("PACS and ImageFolders are the same images" in note for note in table.notes)


def test_a_run_counts_once(tmp_path):
    place = run(tmp_path / "a")
    (tmp_path / "link").symlink_to(place)
    shutil.copytree(place, tmp_path / "copy")
    for again in (place, tmp_path / "link", f"file://{place}", f"{place}/"):
        with pytest.raises(SteppeError, match="given twice"):
            results.load(place, again)
    with pytest.raises(SteppeError, match="both hold the study"):
        results.load(place, tmp_path / "copy")


def test_runs_of_one_name_keep_their_trials_and_notes_apart(tmp_path):
    a = run(tmp_path / "a", name="same", algorithms=["ERM"])
    b = run(tmp_path / "b", name="same", algorithms=["SAM"], trials=2)
    found = results.load(a, b)
    trials = found.trials["sweep"].value_counts()
    assert trials.to_dict() == {"same": 1, "same (b)": 2}
    assert found.trials["trial"].is_unique


def test_runs_that_differ_can_be_compared(tmp_path):
    seeds = [0, 1]
    a = run(tmp_path / "a", seeds=seeds)
    b = run(tmp_path / "b", seeds=seeds, training={"steps": 50})
    pairs = results.compare(results.load(a, b), "SAM (a)", "SAM (b)")
    assert pairs["pairs"].item() == 2
    assert pairs["difference"].item() == 0


def test_other_weights_at_one_path_are_another_model(tmp_path):
    model = {"name": "resnet50", "weights": "/nowhere/w.pth"}
    a = run(tmp_path / "a", sha256="1" * 64, seeds=[0], model=model)
    b = run(tmp_path / "b", sha256="2" * 64, seeds=[1], model=model)
    (table,) = tables(a, b)
    assert {*table.rows} == {"ERM (a)", "ERM (b)", "SAM (a)", "SAM (b)"}
    assert any("model.weights (sha256)" in note for note in table.notes)


def test_a_run_from_before_a_key_was_trained_as_its_default_says(tmp_path):
    old = run(tmp_path / "a", seeds=[0], training={"steps": 10, "optimizer": "sgd"})
    new = {"steps": 10, "optimizer": "sgd", "nesterov": True}
    (table,) = tables(old, run(tmp_path / "b", seeds=[1], training=new))
    assert any("training.nesterov" in note for note in table.notes)
    same = run(tmp_path / "c", seeds=[2], training=new | {"nesterov": False})
    (table,) = tables(old, same)
    assert without_winners(table.notes) == ()
