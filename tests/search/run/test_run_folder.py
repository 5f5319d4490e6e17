import os
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
from pyarrow import ArrowException

from search.errors import SteppeError
from search.run.retries import reason
from search.run.run_folder import SWEEP, RunFolder


def test_a_local_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder("runs/x")
    monkeypatch.chdir("/")
    folder.write_bytes("a/b", b"1")
    assert (tmp_path / "runs" / "x" / "a" / "b").read_bytes() == b"1"
    assert folder.uri == str(tmp_path / "runs" / "x")
    assert folder.name == "x"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder("~/runs/x").uri == folder.uri


def test_a_file_uri_is_the_same_folder_as_its_path(tmp_path):
    RunFolder(tmp_path).write_bytes("a", b"1")
    folder = RunFolder(tmp_path.as_uri() + "/")
    assert folder.read_bytes("a") == b"1"
    assert folder.uri == str(tmp_path)


def test_a_writer_that_dies_leaves_the_old_file_and_nothing_listed(folder, monkeypatch):
    folder.write_bytes("part", b"old")
    seen = []

    def die(descriptor):
        seen.extend(folder.list())
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(KeyboardInterrupt):
        folder.write_bytes("part", b"new")
    assert seen == ["part"]
    assert folder.read_bytes("part") == b"old"
    assert [file.name for file in Path(folder.root).iterdir()] == ["part"]


def test_content_is_on_the_disk_before_it_takes_its_name(folder, monkeypatch):
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    folder.write_bytes("part", b"12345")
    assert sizes == [5]


def test_files_have_the_permissions_of_the_users_mask(tmp_path):
    before = os.umask(0o027)
    try:
        RunFolder(tmp_path).write_bytes("part", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "part").stat().st_mode) == 0o640


def test_a_missing_run_is_refused_with_the_nearest_run(tmp_path):
    RunFolder(tmp_path / "pacs-sharpness").write_bytes(SWEEP, b"")
    (tmp_path / "pacs-sharpnes").mkdir()  # nearer, but no run
    with pytest.raises(SteppeError, match=r"no run at .*; did you mean pacs-sharpness\?"):
        RunFolder.existing(tmp_path / "pacs-sharpnss")


@pytest.mark.parametrize("location", ["nowhere://x/y", "s3://", "file://host/x", "file:///"])
def test_a_location_that_no_store_understands_is_refused(location):
    with pytest.raises(SteppeError, match="cannot use"):
        RunFolder(location)


@pytest.mark.parametrize("scheme", ["az", "wasb", "wasbs", "adl"])
def test_other_names_of_azures_store_are_answered_with_arrows(scheme):
    with pytest.raises(SteppeError, match=f"write {scheme}:// as abfs://CONTAINER@ACCOUNT"):
        RunFolder(f"{scheme}://container/runs/x")


def test_a_store_without_credentials_says_where_they_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_ROOT", "127.0.0.1:1")
    with pytest.raises(SteppeError, match=r"no credentials .* GOOGLE_APPLICATION_CREDENTIALS"):
        RunFolder.existing("gs://bucket/x?retry_limit_seconds=1")


def test_an_error_of_azures_store_is_one_of_the_store(folder):
    said = ArrowException("Unknown error: Failed to get token from DefaultAzureCredential.")
    with pytest.raises(OSError, match="DefaultAzureCredential") as error:
        folder.without_retries()._try(Mock(side_effect=said), "read", "")
    assert "AZURE_CLIENT_SECRET" in reason(error.value)


@pytest.mark.parametrize(
    "location",
    [
        "s3://AKIA:hushhush@bucket/runs/x",
        "s3://AKIA:hush/hush@bucket/runs/x",
        "s3://hushhush@bucket/runs/x",
        "s3://bucket/x?access_key=AKIA&secret_key=hushhush",
        "gs://hushhush@bucket/x",
        "abfs://container:hushhush@account.dfs.core.windows.net/x",
        "abfs://container@account.dfs.core.windows.net/x?sv=1&sig=hushhush",
        "hdfs://me:hushhush@host:8020/x",
    ],
)
def test_a_location_with_credentials_is_refused_without_repeating_them(location):
    with pytest.raises(SteppeError, match="leave them out, and give them by ") as error:
        RunFolder(location)
    assert "hush" not in str(error.value)
    assert "AKIA" not in str(error.value)


def test_a_run_folder_travels_to_workers(folder):
    pickle.loads(pickle.dumps(folder)).write_bytes("a", b"1")
    assert folder.read_bytes("a") == b"1"


def test_many_writers_may_write_one_file(folder):
    contents = [bytes([number]) * 10_000 for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(folder.write_bytes, ["part"] * 40, contents))
    assert folder.read_bytes("part") in contents
    assert [file.name for file in Path(folder.root).iterdir()] == ["part"]
