"""All that a run folder can do, on a disk and on each kind of store, whose ideas of folders differ.

The stores are emulators of their protocols, each a process of its own on the loopback.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyarrow.fs
import pytest

from search.driver.ledger import Ledger
from search.errors import SteppeError
from search.run.run_folder import SWEEP, RunFolder
from search.run.storage import begun, open_for_reading, open_for_writing
from search.run.tables import read_trials, write_trial
from search.study.plan import plans
from tests.search.command import wait_until
from tests.search.play import play, small_sweep, stored
from tests.search.store import bucket_on, serving

BUCKET = "bucket"


@contextmanager
def emulator(*command: str, port: int, **variables: str) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=os.environ | variables, **quiet) as process:

        def listens() -> bool:
            assert process.poll() is None, f"{command[0]} has ended"
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_until(listens, 60, f"{command[0]} listens")
            yield
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def google(place: Path) -> Iterator[Callable[[str], RunFolder]]:
    if importlib.util.find_spec("gcp_storage_emulator") is None:
        pytest.skip("needs gcp-storage-emulator")
    port = _free_port()
    start = "from gcp_storage_emulator.__main__ import main; main()"
    arguments = ["start", "--host=127.0.0.1", f"--port={port}", "--in-memory"]
    with emulator(sys.executable, "-c", start, *arguments, port=port):
        store = pyarrow.fs.GcsFileSystem(
            anonymous=True,
            endpoint_override=f"127.0.0.1:{port}",
            scheme="http",
            project_id="test",
            retry_time_limit=timedelta(seconds=5),
        )
        yield _on(store, f"gs://{BUCKET}")


@contextmanager
def azure(place: Path) -> Iterator[Callable[[str], RunFolder]]:
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("needs azurite, an npm package")
    port, account = _free_port(), "steppe"
    key = base64.b64encode(os.urandom(64)).decode()
    options = ["--blobHost=127.0.0.1", f"--blobPort={port}", "--silent", "--skipApiVersionCheck"]
    options += ["--disableTelemetry", f"--location={place}"]
    with emulator(program, *options, port=port, AZURITE_ACCOUNTS=f"{account}:{key}"):
        here = f"127.0.0.1:{port}"
        store = pyarrow.fs.AzureFileSystem(
            account,
            account_key=key,
            blob_storage_authority=here,
            dfs_storage_authority=here,
            blob_storage_scheme="http",
            dfs_storage_scheme="http",
        )
        yield _on(store, f"abfs://{BUCKET}@{account}.dfs.core.windows.net")


def _on(store: pyarrow.fs.FileSystem, uri: str) -> Callable[[str], RunFolder]:
    """Run folders on a store that no URI leads to."""
    store.create_dir(BUCKET)

    def at(name: str) -> RunFolder:
        folder = object.__new__(RunFolder)
        folder.filesystem, folder.root, folder.local = store, f"{BUCKET}/{name}", False
        folder.uri, folder._retries, folder._on_wait = f"{uri}/{name}", True, None
        return folder

    return at


@contextmanager
def amazon(place: Path) -> Iterator[Callable[[str], RunFolder]]:
    with serving() as address, bucket_on(*address) as bucket:
        yield lambda name: RunFolder(f"{bucket}/{name}")


@contextmanager
def disk(place: Path) -> Iterator[Callable[[str], RunFolder]]:
    yield lambda name: RunFolder(place / name)


SLOW = [pytest.param(store, marks=pytest.mark.slow) for store in (amazon, google, azure)]


@pytest.fixture(scope="module", params=[disk, *SLOW])
def at(request, tmp_path_factory) -> Iterator[Callable[[str], RunFolder]]:
    with request.param(tmp_path_factory.mktemp("store")) as at:
        yield at


def test_files_are_written_replaced_listed_and_measured(at):
    folder = at("files")
    assert folder.list() == folder.list("trials") == []
    assert folder.size() == 0
    assert not folder.exists("trials")
    name = "trials/PACS.DISAM+SAGM.a b.0"
    folder.write_bytes(name, b"old")
    folder.write_bytes(name, b"newer")
    folder.write_bytes("trials/deeper/part", b"123")
    folder.write_bytes("trials/.half.partial", b"")
    assert folder.read_bytes(name) == b"newer"
    assert folder.list("trials") == ["PACS.DISAM+SAGM.a b.0"]
    assert folder.exists("trials")
    assert folder.exists(name)
    assert folder.exists("trials/deeper")
    assert folder.size("trials") == 8
    assert folder.present(["trials", name, "no", "trials/deeper/part"]) == [
        name,
        "trials/deeper/part",
    ]
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("trials/none")
    big = os.urandom(6_000_000)
    folder.write_bytes("checkpoints/state", big)
    assert folder.read_bytes("checkpoints/state") == big


def test_what_is_deleted_is_gone_and_may_have_been_gone_before(at):
    folder = at("deleted")
    for name in ("a/1", "a/2", "b/c/1", "single"):
        folder.write_bytes(name, b"1")
    folder.delete("a/1")
    folder.delete("a/2")  # a store's folder goes with its last file, a disk's stays
    for name in ("a", "a", "a/1", "never", "never/there", "b", "b", "b/c", "single", "single"):
        folder.delete(name)
        assert not folder.exists(name)
    assert folder.list() == folder.list("a") == folder.list("b") == []
    folder.write_bytes("a/1", b"again")
    assert folder.read_bytes("a/1") == b"again"
    folder.delete("")
    assert not folder.exists("a/1")


def test_a_folder_whose_names_begin_alike_is_another(at):
    one, other = at("run"), at("run-2")
    one.write_bytes("a/1", b"1")
    one.write_bytes("ab/1", b"1")
    other.write_bytes("a/1", b"1")
    one.delete("a")
    assert one.exists("ab/1")
    one.delete("")
    assert other.list("a") == ["1"]


def test_tables_journal_and_trials(at):
    folder, sweep = at("sweep"), small_sweep()
    assert not begun(folder)
    assert open_for_reading(folder).get_all_studies() == []
    if folder.local:
        Path(folder.root).mkdir()
    storage = open_for_writing(folder)
    given = play(sweep, folder, 2, Ledger(plans(sweep), folder, storage))
    storage.flush()
    assert begun(folder)
    assert [trial.number for trial in stored(folder)[given[0].study.id]] == [0, 1]
    # The second driver has two more, ends the study, and merges its tables.
    assert [spec.number for spec in play(sweep, folder, 2)] == [2, 3]
    assert sorted(read_trials(folder)["number"]) == [0, 1, 2, 3]
    study = dict.fromkeys(["sweep", "study", "dataset", "model", "algorithm", "held_out"], "s")
    row = {**study, "seed": 0, "trial": "s.0", "number": 0, "state": "completed", "hp_lr": 0.1}
    write_trial(folder, row, {"lr": float})
    assert len(read_trials(folder)) == 5


def test_a_run_is_found_and_a_folder_without_one_is_told_apart(at):
    existing, create = RunFolder.existing.__func__, RunFolder.create.__func__
    at("found").write_bytes("other", b"1")
    with pytest.raises(SteppeError, match="is not a run"):
        existing(at, "found")
    with pytest.raises(SteppeError, match="there is no run at"):
        existing(at, "nowhere")
    at("found").write_bytes(SWEEP, b"name: x")
    assert existing(at, "found").read_bytes(SWEEP) == b"name: x"
    assert create(at, "new").list() == []
