"""A sweep of a tiny CLIP, from its zero-shot row to WiSE-FT's curve in the report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

import datasets
from datasets.augmentation.by_name import views
from datasets.input_format import InputFormat
from models.clip_towers import OPENAI
from models.exported import load_exported
from search.run import tables
from search.run.checkpoints import read_weights
from search.run.combinations import read_combinations
from search.run.run_folder import RunFolder
from tests.datasets.photos import tree
from tests.models import tiny_clip
from tests.search.command import printed, refused, write_yaml
from tests.search.play import without_ray
from training.evaluation import chunks, parts_of

CPU = torch.device("cpu")
STUDY = "ImageFolders.open_clip_tiny_text.{}.art.0"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """Holds a tiny CLIP, images of three domains, and its texts once they are made."""
    place = tmp_path_factory.mktemp("clip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPPE_CACHE", str(place / "cache"))
        tiny_clip.write(place)
        torch.save(tiny_clip.whole().visual.state_dict(), place / "visual.pt")
        tree(place / "data", ["art", "photo", "sketch"], ["big_dog", "cat", "owl"], count=7)
        yield place


def sweep(place: Path, **changes: Any) -> Path:
    """The file of a sweep with other values, such as `model.head`; without those that are None."""
    found: dict[str, Any] = {
        "name": "clip",
        "dataset": {"name": "ImageFolders", "root": str(place / "data"), "size": 32},
        "model": {
            "name": tiny_clip.NAME,
            "weights": str(place / "tiny_text.pt"),
            "head": "text",
            "prompts": ["a photo of a {}.", "art of the {}"],
        },
        "algorithms": ["zero-shot", "ERM"],
        "held_out": ["art"],
        "seeds": [0],
        "training": {"steps": 6, "evaluate_every": 3, "batch_size": 4, "optimizer": "adamw"},
        "search": {"trials": 1, "combine": "wise-ft", "space": {"lr": 1e-3}},
    }
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        inside = found[section] if section else found
        inside[name] = value
        if value is None:
            del inside[name]
    return write_yaml(place / "sweep.yaml", found)


def launch(file: Path, run: Path) -> tuple[RunFolder, str]:
    """The run, and what its launch printed."""
    with without_ray():
        text = printed("launch", file, "--output", run)
    return RunFolder(run), text


@pytest.fixture(scope="module")
def launched(place: Path) -> tuple[RunFolder, str]:
    return launch(sweep(place), place / "run")


def accuracies(folder: RunFolder, algorithm: str, step: int) -> dict[tuple[str, str], float]:
    rows = tables.read_evaluations(folder)
    own = rows[(rows["study"] == STUDY.format(algorithm)) & (rows["step"] == step)]
    return {(row["domain"], row["split"]): row["accuracy"] for row in own.to_dict("records")}


def test_the_zero_shot_row_is_what_clip_says_of_the_images_and_the_texts(place, launched):
    folder, said = launched
    assert "a photo of a big dog. a photo of a cat. a photo of a owl." in said
    shown = json.loads(printed("results", folder.uri, "--format", "json"))["results"]
    row = next(row for row in shown if row["algorithm"] == "zero-shot")

    whole, tokenizer = tiny_clip.whole(), open_clip.get_tokenizer("tiny_text")
    texts = [
        tokenizer([f"a photo of a {name}.", f"art of the {name}"])
        for name in ("big dog", "cat", "owl")
    ]
    photos = datasets.load("ImageFolders", place / "data", 32)
    form = InputFormat(32, OPENAI.mean, OPENAI.deviation)
    parts = parts_of(photos, "art", 0, views(photos, "auto", CPU, form)[1])
    part = next(part for part in parts if (part.role, part.split) == ("held_out", "in"))
    hits = 0
    with torch.no_grad():
        means = [whole.encode_text(own, normalize=True).mean(0) for own in texts]
        classes = torch.stack([mean / mean.norm() for mean in means])
        for x, y in chunks([part], CPU, 8):
            hits += int((whole.encode_image(x).matmul(classes.T).argmax(1) == y).sum())
    assert row["accuracy"] == pytest.approx(hits / len(part.indices))
    assert row["accuracy"] == accuracies(folder, "zero-shot", 0)["art", "in"]
    trials = tables.read_trials(folder).set_index("algorithm")
    assert trials.loc["zero-shot", ["steps", "passes"]].tolist() == [0, 0]


def test_wise_ft_goes_from_zero_shot_to_the_selected_trial_and_validation_chooses(launched):
    folder, _ = launched
    (row,) = read_combinations(folder).to_dict("records")
    points = row["curve"]
    trial = tables.read_trials(folder).set_index("algorithm").loc["ERM"]
    assert [point["alpha"] for point in points] == pytest.approx([i / 10 for i in range(11)])
    for point, algorithm, step in (
        (points[0], "zero-shot", 0), (points[-1], "ERM", trial["best_step"]),
    ):  # fmt: skip
        own = accuracies(folder, algorithm, step)
        assert point["accuracy"] == own["art", "in"]
        validation = (own["photo", "out"] + own["sketch", "out"]) / 2
        assert point["validation"] == pytest.approx(validation)
    best = max(points, key=lambda point: point["validation"])
    assert (row["alpha"], row["accuracy"]) == (best["alpha"], best["accuracy"])
    assert row["members"] == (trial["trial"],)


def test_the_curve_is_in_tables_and_report_and_says_that_held_out_chose_nothing(launched):
    folder, _ = launched
    shown = printed("results", folder.uri, "--format", "latex")
    assert all(words in shown for words in ("zero-shot", "ERM, WiSE-FT", "chose nothing"))
    frames = json.loads(printed("results", folder.uri, "--format", "json"))
    assert len(frames["wise_ft"]) == 11
    assert sum(point["chosen"] for point in frames["wise_ft"]) == 1
    assert "zero-shot" in printed("compare", folder.uri)
    printed("report", folder.uri)
    page = folder.read_bytes("report.html").decode()
    assert 'id="wise-ft"' in page
    assert "chose nothing" in page


def test_wise_ft_is_exported_with_its_accuracy_and_a_trial_is_repeated(launched, tmp_path):
    folder, _ = launched
    printed("export", folder.uri, "ERM.art.0.wise-ft", "--output", tmp_path / "out")
    head = load_exported(tmp_path / "out").network.classifier
    assert head.weight.norm(dim=1).mean() > 5  # texts have length 1, tau is 20
    printed("rerun", folder.uri, "ERM.art.0.0")


def test_wise_ft_is_not_made_from_another_file_than_the_runs(place, launched, tmp_path):
    file = place / "tiny_text.pt"
    whole = file.read_bytes()
    torch.save({**torch.load(file), "logit_scale": torch.tensor(2.0)}, file)
    try:
        told = refused("export", launched[0].uri, "ERM.art.0.wise-ft", "--output", tmp_path / "out")
    finally:
        file.write_bytes(whole)
    assert all(word in told for word in (file.name, "sha256", "put it back"))


def test_clipood_trains_the_image_tower_beside_fixed_texts(place):
    trained = {"model.head": "text-fixed", "algorithms": ["MMS+BMA", "ERM"]}
    kept = {"search.combine": None, "search.keep_weights": "all"}
    folder, _ = launch(sweep(place, **trained, **kept), place / "clipood")
    margin, plain = (read_weights(folder, f"{STUDY.format(name)}.0") for name in ("MMS+BMA", "ERM"))
    assert torch.equal(margin["classifier.weight"], plain["classifier.weight"])
    assert margin["classifier.weight"].norm(dim=1).tolist() == pytest.approx([math.exp(3)] * 3)
    assert not torch.equal(margin["featurizer.0.proj"], plain["featurizer.0.proj"])


LINEAR = {"model.head": None, "model.prompts": None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (LINEAR, ["algorithms[0]", "zero-shot", "model.head"]),
        ({**LINEAR, "algorithms": ["MMS+BMA"]}, ["MMS+BMA", "model.head"]),
        ({**LINEAR, "algorithms": ["ERM"]}, ["search.combine", "wise-ft", "model.head"]),
        (
            {"model.head": None, "algorithms": ["ERM"], "search.combine": None},
            ["model.prompts", "no effect", "linear"],
        ),
        ({"model.prompts": "a photo"}, ["model.prompts", "a photo", "{}"]),
        ({"model.prompts": []}, ["model.prompts", "at least one"]),
        ({"model.prompts": f"{'very ' * 9} big {{}}"}, ["tokens", "model.prompts"]),
        ({"model.weights": None}, ["model.head", "model.weights"]),
        ({"model.weights": "visual.pt"}, ["no text tower", "head: linear"]),
        ({"model.name": "resnet18", "model.weights": None}, ["no text tower", "open_clip/NAME"]),
        ({"model.head": "text-fixed", "model.tuning": "head"}, ["model.tuning", "text-fixed"]),
        ({"algorithms": ["zero-shot+BMA"]}, ["zero-shot", "alone"]),
        ({"algorithms": ["CLIPood", "WiSE-FT"]}, ["MMS+BMA", "search.combine: wise-ft"]),
        ({"algorithms": ["zero-shot"], "search.combine": None}, ["space.lr", "not trained"]),
        ({"search.keep_weights": "last"}, ["search.combine", "keep_weights: last"]),
    ],
)
def test_what_cannot_work_is_refused_before_training(place, monkeypatch, changes, words):
    monkeypatch.chdir(place)
    told = refused("launch", sweep(place, **changes), "--output", place / "refused")
    assert all(word in told for word in words), told
    assert not (place / "refused" / "trials").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"search.objective": "leave-one-domain-out", "search.sampler": "tpe"},
        {"search.scheduler": "freeze-thaw", "search.sampler": "gp"},
    ],
)
def test_zero_shot_has_one_trial_however_a_sweep_searches(place, tmp_path, changes):
    folder, _ = launch(sweep(place, **changes, **{"search.combine": None}), tmp_path / "run")
    trials = tables.read_trials(folder)
    own = trials[trials["algorithm"] == "zero-shot"]
    assert own[["state", "steps"]].values.tolist() == [["completed", 0]]
