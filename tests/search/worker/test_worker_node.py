"""A node whose packages compute other numbers takes no part in a sweep."""

from __future__ import annotations

import json

import pytest

from search.errors import UserError
from search.run import manifest
from search.run.run_folder import MANIFEST, RunFolder
from search.worker.worker_node import COMPUTING, check_node


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
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
    with pytest.raises(UserError) as refused:
        check_node(folder)
    message = str(refused.value)
    assert message.startswith("node ")
    assert f"torch {own} instead of 2.0.0" in message
    assert "timm " in message
    assert f"resume {folder.uri}`" in message


def test_what_the_newest_driver_has_counts(folder):
    driver_has(folder, torch="2.0.0")
    manifest.record(folder, [])
    check_node(folder)


def test_all_that_is_compared_is_in_the_manifest():
    assert set(manifest.PACKAGES) >= COMPUTING


def test_a_node_that_does_not_share_the_run_folder_is_named(tmp_path):
    elsewhere = RunFolder(tmp_path / "not here")
    with pytest.raises(UserError, match=r"^node .* does not see the run in .*--output$"):
        check_node(elsewhere)
