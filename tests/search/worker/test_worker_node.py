"""A node whose packages compute other numbers takes no part in a sweep."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

import models
from search.checks.check_data import try_model
from search.errors import SteppeError
from search.run import manifest
from search.run.run_folder import MANIFEST, RunFolder
from search.sweep.schema import Model
from search.worker.node import COMPUTING, check_node, check_weights


@pytest.fixture
def folder(folder):
    manifest.record(folder, [])
    return folder


def driver_has(folder: RunFolder, **versions: str) -> None:
    made = json.loads(folder.read_bytes(MANIFEST))
    made["sessions"][-1]["packages"] |= versions
    folder.write_bytes(MANIFEST, json.dumps(made).encode())


def test_the_same_packages_are_fine(folder):
    check_node(folder)
    driver_has(folder, optuna="4.0.0")  # a trial computes nothing with it
    check_node(folder)


def test_another_version_and_a_missing_package_are_named_with_the_node(folder):
    own = manifest.versions()["torch"]
    driver_has(folder, torch="2.0.0", timm="0.1.0")
    with pytest.raises(SteppeError) as refused:
        check_node(folder)
    named = ("node ", f"torch {own} instead of 2.0.0", "timm ", "start its Ray again")
    assert all(text in str(refused.value) for text in named)


def test_what_the_newest_driver_has_counts(folder):
    driver_has(folder, torch="2.0.0")
    manifest.record(folder, [])
    check_node(folder)


def test_all_that_is_compared_is_in_the_manifest():
    assert set(manifest.PACKAGES) >= COMPUTING


def test_a_node_that_does_not_share_the_run_folder_is_named(tmp_path):
    elsewhere = RunFolder(tmp_path / "not here")
    with pytest.raises(SteppeError, match=r"^node .* does not see the run in .*--output$"):
        check_node(elsewhere)


def test_a_run_knows_the_file_of_weights_that_it_was_made_with(tmp_path):
    def save(seed):
        torch.manual_seed(seed)
        whole = models.build("mlp", 2, (1, 8, 8)).featurizer[0].state_dict()
        torch.save({"epoch": 1, "net": {f"module.{k}": v.half() for k, v in whole.items()}}, file)

    run, file = RunFolder(tmp_path / "run"), tmp_path / "w.pt"
    images = [SimpleNamespace(image_shape=(1, 8, 8))]
    model = Model(name="mlp", weights=str(file))
    save(1)
    manifest.record(run, [], (), try_model(model, images))

    (made,) = [json.loads(run.read_bytes(MANIFEST))["weights"]]
    assert made["file"] == str(file)
    assert made["sha256"] == manifest.sha256(file)
    assert (made["under"], made["wrappers"]) == ("net", ["module"])
    assert made["converted"] == {"float16": 4}
    manifest.record(run, [], (), try_model(model, images))
    check_weights(run, "mlp", str(file))

    save(2)
    with pytest.raises(SteppeError, match=r"^node .* has other weights in .*w.pt"):
        check_weights(run, "mlp", str(file))
    with pytest.raises(SteppeError, match=r"was made with other weights in .*w.pt"):
        manifest.record(run, [], (), try_model(model, images))
    file.unlink()
    with pytest.raises(SteppeError, match=r"^node .* there is no file .*w.pt"):
        check_weights(run, "mlp", str(file))
    torch.save({"net": {"1.weight": torch.full((2, 2), torch.nan)}}, file)
    with pytest.raises(SteppeError, match=r"^model.weights is .*w.pt do not fit"):
        try_model(model, images)
