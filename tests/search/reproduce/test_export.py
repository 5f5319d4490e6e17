"""`export` writes the model that the tables speak of, from kept weights or by training again."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import datasets
from models.exported import load_exported
from search.reproduce import predictions
from search.run import tables
from search.run.checkpoints import read_weights, write_weights
from search.run.run_folder import RunFolder
from search.sweep.schema import Dataset
from tests.datasets.photos import tree
from tests.search.command import refused, steppe
from tests.search.reproduce.recorded import (
    STUDY,
    recorded,
    rewrite,
    sam_sweep,
    scores,
    stop,
    train,
)

BAD = {"lr": 3.0}  # its best step is not the last


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def exported(folder: RunFolder, *arguments: object, code: int = 0) -> str:
    done = steppe("export", folder.uri, *arguments, "--output", Path(folder.root) / "../out")
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done.stdout + done.stderr


def out(folder: RunFolder) -> Path:
    return Path(folder.root) / "../out"


@pytest.mark.parametrize("averaging", ["none", "ema"])
@pytest.mark.parametrize("keep", ["none", "best"])
def test_it_is_the_model_of_the_tables(folder, keep, averaging):
    sweep = sam_sweep(training={"averaging": averaging}, search={"keep_weights": keep})
    values = {"ema_decay": 0.5} if averaging == "ema" else {}
    train(sweep, folder, BAD | values, values)

    text = exported(folder, STUDY)

    row = max(tables.read_trials(folder).to_dict("records"), key=lambda row: row["objective"])
    trial, step = row["trial"], row["best_step"]
    assert text.startswith(f"{trial}, step {step} by training-domain: ")
    assert ("those that the run has kept" in text) == (keep == "best")
    assert "as in the table" in text
    assert scores(load_exported(out(folder))) == recorded(folder, trial, step)
    card = yaml.safe_load((out(folder) / "model.yaml").read_text())
    assert card["trained"]["trial"] == trial
    assert card["trained"]["weights"] == ("iterate" if averaging == "none" else "average")
    assert card["trained"]["hyperparameters"]["lr"] == row["hp_lr"]
    out_split = {s["domain"]: s["accuracy"] for s in card["scores"] if s["split"] == "out"}
    assert out_split == recorded(folder, trial, step)
    assert {path.name for path in out(folder).iterdir()} == {"model.yaml", "model.safetensors"}


def test_a_method_says_the_step_and_what_was_kept_of_another_step_is_not_taken(folder):
    sweep = sam_sweep(search={"keep_weights": "best"})
    train(sweep, folder, BAD)
    (row,) = tables.read_trials(folder).to_dict("records")
    assert row["best_step"] < 30

    text = exported(folder, "--method", "last-step")

    assert "step 30 by last-step" in text
    assert "trained again" in text
    assert scores(load_exported(out(folder))) == recorded(folder, f"{STUDY}.0", 30)
    assert "those that the run has kept" in exported(folder, f"{STUDY}.0")
    assert scores(load_exported(out(folder))) == recorded(folder, f"{STUDY}.0", row["best_step"])


def test_an_earlier_step_is_found_again_too(folder):
    train(sam_sweep(training={"evaluations": "all"}), folder, BAD)
    rewrite(folder, f"{STUDY}.0", lambda rows: [
        row | {"accuracy": 0.0} if row["domain"] == "15" and row["step"] != 20 else row
        for row in rows
    ])  # fmt: skip
    text = exported(folder, "--method", "worst-source-domain", code=1)  # the table was changed
    assert "step 20 by worst-source-domain" in text
    assert scores(load_exported(out(folder)))["15"] == recorded(folder, f"{STUDY}.0", 20)["15"]


def test_kept_weights_that_are_not_those_of_the_table_are_noticed(folder):
    train(sam_sweep(search={"keep_weights": "best"}), folder, {})
    state = read_weights(folder, f"{STUDY}.0")
    write_weights(folder, f"{STUDY}.0", {key: -tensor for key, tensor in state.items()})
    text = exported(folder, code=1)
    assert " in the table" in text
    assert "as in the table" not in text
    for change in (torch.Tensor.long, lambda tensor: tensor * float("nan")):
        write_weights(folder, f"{STUDY}.0", {key: change(tensor) for key, tensor in state.items()})
        assert re.search("featurizer.* holds .*delete", exported(folder, code=2))
    del state["classifier.bias"]
    write_weights(folder, f"{STUDY}.0", state)
    text = exported(folder, code=2)
    assert "classifier.bias" in text
    assert "delete" in text
    folder.write_bytes(f"weights/{STUDY}.0.safetensors", b"torn")
    text = exported(folder)
    assert "The kept weights are damaged" in text
    assert "trained again" in text


def test_predictions_are_those_that_the_tables_count(folder):
    train(sam_sweep(training={"evaluations": "all"}), folder, {})
    exported(folder, "--predictions")
    found = pd.read_parquet(out(folder) / "predictions.parquet")
    step = int(found["step"].iloc[0])
    table = tables.read_evaluations(folder)
    table = table[table["step"] == step].set_index(["domain", "split"])
    hit = found["label"].astype(str) == found["prediction"].astype(str)
    groups = found.assign(hit=hit).groupby(["domain", "split"])
    assert len(groups) == 12
    for key, own in groups:
        assert own["hit"].mean() == table.loc[key, "accuracy"]
        assert own["loss"].mean() == pytest.approx(table.loc[key, "loss"])
        assert len(own) == table.loc[key, "count"]
    digits = datasets.load("RotatedDigits")
    for domain in digits.domains:
        own = found[found["domain"] == domain.name].sort_values("index")
        assert own["index"].tolist() == list(range(len(domain)))
        assert own["label"].astype(int).to_numpy().tolist() == domain.labels.tolist()
    assert found["confidence"].between(0.1, 1).all()
    assert np.allclose(found["loss"][hit], -np.log(found["confidence"][hit]), atol=1e-5)
    assert found["file"].isna().all()
    exported(folder)  # what is not of this export does not stay
    assert not (out(folder) / "predictions.parquet").exists()


def test_files_are_named_in_the_order_of_the_images_without_those_left_out(tmp_path):
    root = tree(tmp_path / "images", ["one", "two"], ["cat", "dog"], 5)
    (root / "one" / "cat" / "pic_001.jpg").write_bytes(b"no picture")
    given = Dataset(name="ImageFolders", root=root, size=8, allow=("unreadable",))
    dataset = datasets.load(given.name, given.root, given.size, given.allow)
    files = predictions.files_of(given)
    assert [len(files[domain.name]) for domain in dataset.domains] == [9, 10]
    assert files["one"][:2] == ["cat/pic_000.jpg", "cat/pic_002.jpg"]
    for domain in dataset.domains:
        labels = [dataset.classes[label] for label in domain.labels]
        assert [name.partition("/")[0] for name in files[domain.name]] == labels
    assert predictions.files_of(Dataset(name="RotatedDigits")) == {}


def test_what_cannot_be_exported_is_refused_with_the_reason(folder, tmp_path):
    _, second = train(sam_sweep(), folder, {}, {})
    stop(folder, second, "pruned", 20)
    message = refused("export", folder.uri, second.trial)
    assert "training-domain chooses nothing in" in message
    assert "the only trial was pruned" in message
    message = refused("export", folder.uri, "--method", "training-domian")
    assert "did you mean training-domain?" in message
    assert "there is no study or trial SAM.9" in refused("export", folder.uri, "SAM.9")
    (tmp_path / "file").write_text("precious")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        assert "--output" in refused("export", folder.uri, "--output", place)
    assert (tmp_path / "file").read_text() == "precious"
