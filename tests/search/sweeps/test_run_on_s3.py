"""A run on S3, as a server on the loopback speaks it; run/test_stores.py has every store."""

import logging
import pickle
import urllib.request
from contextlib import contextmanager
from threading import Timer

import pytest

from search.driver.ledger import Ledger
from search.errors import SteppeError
from search.run import retries
from search.run.retries import StoreError
from search.run.run_folder import SWEEP, RunFolder
from search.run.storage import begun, open_for_reading, open_for_writing
from search.study.plan import plans
from tests.search.play import play, small_sweep, stored
from tests.search.store import KEY, SECRET, Line, bucket_on, serving


@pytest.fixture(scope="module")
def server():
    with serving() as address:
        yield address


@pytest.fixture
def bucket(server):
    with bucket_on(*server) as bucket:
        yield bucket


def test_a_small_file_is_one_request(bucket, caplog):
    folder = RunFolder(f"{bucket}/x")
    with caplog.at_level(logging.INFO, "werkzeug"):  # the server's own log
        folder.write_bytes("part", b"1")
    assert caplog.text.count("/bucket/x/part") == 1, caplog.text


def test_the_endpoint_may_stand_in_the_uri_and_travels_to_workers(bucket, server, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    address = "{}:{}".format(*server)
    folder = RunFolder(f"{bucket}/x?endpoint_override={address}&scheme=http")
    luggage = pickle.dumps(folder)
    assert SECRET.encode() not in luggage
    assert KEY.encode() not in luggage
    pickle.loads(luggage).write_bytes("a", b"1")
    assert folder.list() == ["a"]
    assert folder.name == "x"


@contextmanager
def locked(host, port):
    """The server lets nobody in who has no account there."""

    def actions_without_account(number: str) -> None:
        url, kind = f"http://{host}:{port}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        request = urllib.request.Request(url, number.encode(), kind, method="POST")
        urllib.request.urlopen(request).close()

    actions_without_account("0")
    try:
        yield
    finally:
        actions_without_account("1e9")


def test_a_store_that_refuses_is_not_asked_again(bucket, server, monkeypatch):
    monkeypatch.setattr(retries, "FIRST_WAIT", 60)
    folder = RunFolder(f"{bucket}/x")
    folder.write_bytes(SWEEP, b"name: x")
    with locked(*server):
        with pytest.raises(StoreError) as caught:
            folder.write_bytes("trials/part", b"1")
        told = str(caught.value)
        assert told.startswith("cannot write s3://bucket/x/trials/part: AWS Error INVALID_ACCESS")
        assert told.endswith("give the same command again")
        for ask in (
            lambda: folder.read_bytes(SWEEP),
            lambda: folder.exists(SWEEP),
            lambda: folder.list(),
            lambda: folder.delete(SWEEP),
        ):
            with pytest.raises(StoreError, match=r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID"):
                ask()
        with pytest.raises(SteppeError, match="cannot read the run s3://bucket/x: AWS Error ACC"):
            RunFolder.existing(f"{bucket}/x")
        with pytest.raises(SteppeError, match=r"cannot write to the output s3://bucket/y: .*INV"):
            RunFolder.create(f"{bucket}/y")
    assert folder.read_bytes(SWEEP) == b"name: x"
    with pytest.raises(SteppeError, match="cannot write to the output s3://no-such-bucket/x"):
        RunFolder.create("s3://no-such-bucket/x")


@pytest.mark.slow
def test_a_store_that_is_away_for_a_while_is_waited_for(server, monkeypatch, caplog):
    """For longer than Arrow waits by itself, which is 6 s."""
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.1)
    line = Line(*server)
    with bucket_on(line.host, line.port) as bucket:
        folder = RunFolder(f"{bucket}/x")
        folder.write_bytes("part", b"old")
        line.break_off()
        Timer(7, line.mend).start()
        with caplog.at_level(logging.WARNING, "steppe"):
            folder.write_bytes("part", b"new")
        assert folder.read_bytes("part") == b"new"
    line.close()
    begin, end = (record.getMessage() for record in caplog.records)
    assert begin.startswith("cannot write s3://bucket/x/part: AWS Error NETWORK_CONNECTION ")
    assert begin.endswith("; retrying")
    assert end.startswith("write s3://bucket/x/part: done, after ")


def test_a_run_that_was_copied_from_a_disk_says_where_its_journal_belongs(bucket, tmp_path):
    disk, folder, sweep = RunFolder(tmp_path), RunFolder(f"{bucket}/x"), small_sweep()
    play(sweep, disk, 2)
    folder.write_bytes("optuna.journal", disk.read_bytes("optuna.journal"))
    assert begun(folder)
    for opened in (open_for_reading, open_for_writing):
        with pytest.raises(SteppeError, match=r"move it to optuna\.journal/00000000\.jsonl"):
            opened(folder)
    folder.delete("optuna.journal")
    folder.write_bytes("optuna.journal/00000000.jsonl", disk.read_bytes("optuna.journal"))
    assert [a.number for a in play(sweep, folder, 1)] == [2]
    assert begun(folder)


def test_a_run_that_is_copied_to_a_disk_is_gone_on_with(bucket, tmp_path):
    disk, folder, sweep = RunFolder(tmp_path), RunFolder(f"{bucket}/x"), small_sweep()
    storage = open_for_writing(folder)
    play(sweep, folder, 2, Ledger(plans(sweep), folder, storage))
    storage.flush()
    assert len(stored(folder)) == 1  # a reader writes nothing
    assert folder.list("optuna.journal") == ["00000000.jsonl"]
    for name in folder.list("optuna.journal"):
        journal = f"optuna.journal/{name}"
        disk.write_bytes(journal, folder.read_bytes(journal))
    assert [a.number for a in play(sweep, disk, 1)] == [2]
