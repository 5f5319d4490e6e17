"""A run in an object store: a real S3 protocol, spoken by a server on the loopback."""

import logging
import pickle
import urllib.request
from contextlib import contextmanager
from threading import Timer

import pandas as pd
import pytest

from search.driver.ledger import Ledger
from search.errors import SteppeError
from search.run import retries
from search.run.retries import StoreError
from search.run.run_folder import SWEEP, RunFolder
from search.run.storage import begun, open_for_reading, open_for_writing
from search.run.tables import read_trials, write_trial
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


def test_files_are_written_replaced_listed_and_deleted(bucket):
    folder = RunFolder.create(f"{bucket}/runs/x/")
    assert folder.list("trials") == []
    folder.write_bytes("trials/PACS.DISAM+SAGM.a b.0", b"old")
    folder.write_bytes("trials/PACS.DISAM+SAGM.a b.0", b"new")
    assert folder.list("trials") == ["PACS.DISAM+SAGM.a b.0"]
    assert folder.read_bytes("trials/PACS.DISAM+SAGM.a b.0") == b"new"
    folder.write_bytes("checkpoints/t/state", b"1" * 6_000_000)
    assert len(folder.read_bytes("checkpoints/t/state")) == 6_000_000
    folder.delete("checkpoints/t")
    assert not folder.exists("checkpoints/t/state")
    folder.delete("trials/PACS.DISAM+SAGM.a b.0")
    assert folder.list("trials") == []


def test_a_small_file_is_one_request(bucket):
    folder = RunFolder(f"{bucket}/x")
    requests = []
    logger = logging.getLogger("werkzeug")
    handler = logging.Handler()
    handler.emit = lambda record: requests.append(record.getMessage())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        folder.write_bytes("part", b"1")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.ERROR)
    assert len([line for line in requests if "/bucket/x/part" in line]) == 1, requests


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


def test_tables_are_written_and_read(bucket):
    folder = RunFolder(f"{bucket}/x")
    study = dict.fromkeys(["sweep", "study", "dataset", "model", "algorithm", "held_out"], "s")
    for number in range(3):
        row = {**study, "seed": 0, "trial": f"s.{number}", "number": number, "state": "completed"}
        write_trial(folder, row | {"hp_lr": 0.1}, {"lr": float})
    assert list(read_trials(folder)["number"]) == [0, 1, 2]
    plain = pd.read_parquet(folder.path("trials"), filesystem=folder.filesystem)
    assert list(plain["hp_lr"]) == [0.1] * 3


def test_runs_that_are_not_there_are_refused(bucket):
    RunFolder(f"{bucket}/x").write_bytes("other", b"1")
    with pytest.raises(SteppeError, match="not a run"):
        RunFolder.existing(f"{bucket}/x")
    with pytest.raises(SteppeError, match="no run at s3://bucket/y"):
        RunFolder.existing(f"{bucket}/y")
    with pytest.raises(SteppeError, match="cannot write to the output s3://no-such-bucket/x"):
        RunFolder.create("s3://no-such-bucket/x")


def test_an_existing_run_opens(bucket):
    RunFolder(f"{bucket}/x").write_bytes(SWEEP, b"name: x")
    assert RunFolder.existing(f"{bucket}/x").read_bytes(SWEEP) == b"name: x"


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
        assert str(caught.value) == (
            "cannot write s3://bucket/x/trials/part: AWS Error INVALID_ACCESS_KEY_ID during "
            "PutObject operation: The AWS Access Key Id you provided does not exist in our "
            "records; everything recorded so far is safe: when this is fixed, "
            "continue with `python -m search resume s3://bucket/x`"
        )
        for ask in (
            lambda: folder.read_bytes(SWEEP),
            lambda: folder.exists(SWEEP),
            lambda: folder.list(),
            lambda: folder.delete(SWEEP),
        ):
            with pytest.raises(StoreError, match=r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID"):
                ask()
        with pytest.raises(
            SteppeError, match="cannot read the run s3://bucket/x: AWS Error ACCESS"
        ):
            RunFolder.existing(f"{bucket}/x")
        with pytest.raises(
            SteppeError, match=r"cannot write to the output s3://bucket/y: .*INVALID"
        ):
            RunFolder.create(f"{bucket}/y")
    assert folder.read_bytes(SWEEP) == b"name: x"


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


def test_the_journal_is_kept_there_and_a_reader_writes_nothing(bucket):
    folder, sweep = RunFolder(f"{bucket}/x"), small_sweep()
    assert not begun(folder)
    assert open_for_reading(folder).get_all_studies() == []
    storage = open_for_writing(folder)
    assigned = play(sweep, folder, 3, Ledger(plans(sweep), folder, storage))
    storage.flush()
    assert folder.list("optuna.journal") == ["00000000.jsonl"]
    before = folder.read_bytes("optuna.journal/00000000.jsonl")
    assert [trial.number for trial in stored(folder)[assigned[0].study.id]] == [0, 1, 2]
    assert folder.read_bytes("optuna.journal/00000000.jsonl") == before
    assert [a.number for a in play(sweep, folder, 1)] == [3]


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
    for name in folder.list("optuna.journal"):
        journal = f"optuna.journal/{name}"
        disk.write_bytes(journal, folder.read_bytes(journal))
    assert [a.number for a in play(sweep, disk, 1)] == [2]
