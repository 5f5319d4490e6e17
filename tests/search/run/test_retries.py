import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.study import StudyDirection
from ray.exceptions import RayError, RayTaskError

from search.errors import SteppeError
from search.run import retries
from search.run.retries import StoreError
from search.run.storage import open_for_reading, open_for_writing
from tests.search.command import CHECKOUT


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 0.3)


@pytest.fixture
def failing(monkeypatch):
    """Lets os.fsync fail with an error so often."""

    def install(number: int, times: float) -> list[int]:
        met: list[int] = []
        fsync = os.fsync

        def fail(descriptor: int) -> None:
            if len(met) < times:
                met.append(number)
                raise OSError(number, os.strerror(number))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fail)
        return met

    return install


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EIO])
def test_what_may_pass_by_itself_is_tried_again(folder, failing, caplog, number):
    met = failing(number, 3)
    with caplog.at_level(logging.WARNING, "steppe"):
        folder.write_bytes("part", b"1")
    assert len(met) == 3
    assert folder.read_bytes("part") == b"1"
    assert [file.name for file in Path(folder.root).iterdir()] == ["part"]
    begin, end = (record.getMessage() for record in caplog.records)
    assert begin == f"cannot write {folder.uri}/part: {os.strerror(number)}; retrying"
    assert end.startswith(f"write {folder.uri}/part: done, after ")


def test_one_who_is_watched_shows_that_it_lives_while_it_waits(folder, failing):
    signs = []
    watched = folder.calling_on_wait(lambda: signs.append(len(met)))
    met = failing(errno.ENOSPC, 3)
    watched.write_bytes("part", b"1")
    assert signs == [1, 2, 3]
    assert folder.read_bytes("part") == b"1"


def test_patience_has_an_end_and_the_error_says_how_to_go_on(folder, failing):
    met = failing(errno.ENOSPC, float("inf"))
    with pytest.raises(StoreError) as caught:
        folder.write_bytes("trials/part", b"1")
    assert len(met) > 3
    message = str(caught.value)
    begin = f"cannot write {folder.uri}/trials/part: No space left on device (retried for 0 s); "
    assert message.startswith(begin)
    assert message.endswith("give the same command again")


def test_what_no_waiting_mends_is_said_at_once(folder, failing):
    met = failing(errno.EACCES, float("inf"))
    with pytest.raises(StoreError, match=r"cannot write .*/part: Permission denied; everything"):
        folder.write_bytes("part", b"1")
    assert len(met) == 1


def test_a_missing_file_is_missing_at_once(folder, monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT", 60)
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("part")


def test_one_who_cannot_wait_meets_the_error_itself(folder, failing):
    met = failing(errno.ENOSPC, float("inf"))
    with pytest.raises(OSError, match="No space left") as caught:
        folder.without_retries().write_bytes("part", b"1")
    assert not isinstance(caught.value, SteppeError)
    assert len(met) == 1


def test_the_error_comes_back_from_a_worker():
    sent = RayTaskError("write", "", StoreError("away")).to_bytes()
    cause = RayError.from_bytes(sent).cause
    assert isinstance(cause, SteppeError)
    assert isinstance(cause, OSError)
    assert (type(cause), str(cause)) == (StoreError, "away")


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7", True),
        ("AWS Error SLOW_DOWN during PutObject operation: Reduce your request rate.", True),
        ("AWS Error UNKNOWN (HTTP status 503) during HeadObject operation", True),
        ("AWS Error ACCESS_DENIED during PutObject operation: Access Denied", False),
        ("AWS Error NO_SUCH_BUCKET during PutObject operation: The bucket", False),
        ("AWS Error UNKNOWN (HTTP status 400) during HeadObject operation", False),
        ("google::cloud::Status(PERMISSION_DENIED: no)", False),
    ],
)
def test_of_what_a_store_says_only_refusals_do_not_pass(said, passes):
    assert retries.is_transient(OSError(said), local=False) == passes


# Disks that are full.

FULL = """
import sys, threading, time
from pathlib import Path
from search.run import retries
from search.run.run_folder import RunFolder
from search.run.storage import open_for_reading, open_for_writing
import optuna
place = Path(sys.argv[1])
folder = RunFolder(place)
retries.FIRST_WAIT, retries.PATIENCE_SECONDS = 0.02, 0.3
study = optuna.create_study(storage=open_for_writing(folder), study_name="s")
folder.write_bytes("part", b"old")
hog = place / "hog"
with hog.open("wb", buffering=0) as file:
    try:
        while file.write(b"x" * 512):
            pass
    except OSError:
        pass
try:
    folder.write_bytes("part", b"n" * 100_000)
except retries.StoreError as error:
    print(error)
print(folder.read_bytes("part").decode(), folder.list())
retries.PATIENCE_SECONDS = 20
threading.Timer(0.3, hog.unlink).start()
for number in range(30):
    study.tell(study.ask(), number)
folder.write_bytes("part", b"n" * 100_000)
seen = optuna.load_study(storage=open_for_reading(folder), study_name="s")
print([int(trial.value) for trial in seen.trials] == [*range(30)], len(folder.read_bytes("part")))
"""


def test_a_disk_that_is_full_for_a_while_costs_nothing(tmp_path):
    """On a real file system of 256 KiB, in a namespace of its own."""
    mount = f"mount -t tmpfs -o size=256k steppe-test {tmp_path} && exec "
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{mount} "$@"', "sh"]
    try:
        subprocess.run([*own, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs user namespaces that may mount a tmpfs")
    command = [*own, sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refusal, kept, told = done.stdout.splitlines()
    assert refusal.startswith(f"cannot write {tmp_path}/part: No space left on device (retried")
    assert kept == "old ['hog', 'optuna.journal', 'part']"
    assert told == "True 100000"
    assert f"cannot write {tmp_path}/optuna.journal: No space left on device; " in done.stderr


def test_half_a_line_of_the_journal_is_taken_back_before_it_is_tried_again(folder, failing):
    storage = open_for_writing(folder)
    met = failing(errno.ENOSPC, 2)  # the line is in the file, but not on the disk
    storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    assert len(met) == 2
    assert [study.study_name for study in open_for_reading(folder).get_all_studies()] == ["s"]
    assert folder.read_bytes("optuna.journal").count(b"\n") == 1
