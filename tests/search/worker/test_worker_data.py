"""Workers train on the images that the driver recorded, or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import datasets
from search.driver import preparing
from search.driver.launch import launch, resume
from search.errors import SteppeError
from search.run import manifest
from search.run.run_folder import RunFolder
from search.sweep.schema import Dataset
from search.worker.node import load_dataset
from tests.datasets.photos import jpeg, tree
from tests.search.play import small_sweep, without_ray


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.delenv("STEPPE_CACHE", raising=False)
    tree(tmp_path / "mine", ["day", "night"], ["cat", "dog"])
    return Dataset(name="ImageFolders", root=tmp_path / "mine", size=8)


@pytest.fixture
def run(mine: Dataset, folder: RunFolder) -> RunFolder:
    """One whose driver has these images."""
    manifest.record(folder, [datasets.load(mine.name, mine.root, mine.size)])
    return folder


def test_the_drivers_images_are_taken_also_where_no_cache_is_yet(mine, run, tmp_path):
    shutil.rmtree(tmp_path / "mine" / ".steppe-cache")
    dataset = load_dataset(mine, run)
    assert dataset.fingerprint == manifest.fingerprints(run)["ImageFolders"]
    assert (tmp_path / "mine" / ".steppe-cache").is_dir()


def test_other_images_and_none_are_refused_with_the_node_and_the_way_out(
    mine, run, tmp_path, monkeypatch
):
    monkeypatch.setattr("socket.gethostname", lambda: "node-7")
    theirs = manifest.fingerprints(run)["ImageFolders"][:12]
    shutil.copytree(tmp_path / "mine", tmp_path / "there")
    (tmp_path / "there" / "night" / "dog" / "pic_001.jpg").write_bytes(jpeg(99))
    there = mine.model_copy(update={"root": tmp_path / "there"})
    here = datasets.load(there.name, there.root, there.size).fingerprint[:12]
    with pytest.raises(SteppeError) as error:
        load_dataset(there, run)
    sentence = str(error.value)
    assert sentence.startswith(f"node node-7 has other images of ImageFolders in {there.root} (")
    assert f"(fingerprint {here}) than the driver (fingerprint {theirs})" in sentence
    assert "start its Ray again" in sentence
    gone = mine.model_copy(update={"root": tmp_path / "gone"})
    with pytest.raises(SteppeError, match=r"^node node-7 cannot read ImageFolders .dataset.root"):
        load_dataset(gone, run)


def test_a_sweep_whose_workers_have_other_images_stops_says_so_and_can_be_resumed(
    folder, monkeypatch
):
    """The driver is told that its images are others; its workers see what is there."""
    sweep = small_sweep(search={"trials": 2}, training={"steps": 4, "evaluate_every": 2})
    mine = datasets.load("RotatedDigits")
    others = replace(mine, fingerprint="0" * 64)
    with without_ray(), monkeypatch.context() as patch:
        patch.setattr(preparing, "open_datasets", lambda sweep: [others])
        with pytest.raises(SteppeError, match="has other images of RotatedDigits"):
            launch(sweep, folder)
    # The driver's images are put right: here, what it recorded of them.
    written = folder.read_bytes("manifest.json").replace(b"0" * 64, mine.fingerprint.encode())
    folder.write_bytes("manifest.json", written)
    with without_ray():
        assert resume(folder.uri)[1]
    trials = pd.read_parquet(f"{folder.uri}/trials")
    assert trials["state"].tolist() == ["completed"] * 2
