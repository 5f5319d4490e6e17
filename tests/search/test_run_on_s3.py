"""A run in an object store: a real S3 protocol, spoken by a server on the loopback."""

import logging
import pickle
from urllib.parse import urlsplit

import pandas as pd
import pytest
from pyarrow import fs as arrow_fs

from search.errors import UserError
from search.run_folder import SWEEP, RunFolder
from search.tables import read_trials, write_trial

moto_server = pytest.importorskip("moto.server", reason="needs moto[s3], flask and flask-cors")


@pytest.fixture(scope="module")
def endpoint():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    store = arrow_fs.S3FileSystem(
        endpoint_override=endpoint, allow_bucket_creation=True, allow_bucket_deletion=True
    )
    store.create_dir("bucket")
    yield "s3://bucket"
    store.delete_dir("bucket")


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


def test_the_endpoint_may_stand_in_the_uri_and_travels_to_workers(bucket, endpoint, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    address = urlsplit(endpoint).netloc
    folder = RunFolder(f"{bucket}/x?endpoint_override={address}&scheme=http")
    pickle.loads(pickle.dumps(folder)).write_bytes("a", b"1")
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
    with pytest.raises(UserError, match="not a run"):
        RunFolder.existing(f"{bucket}/x")
    with pytest.raises(UserError, match="no run at s3://bucket/y"):
        RunFolder.existing(f"{bucket}/y")
    with pytest.raises(UserError, match="cannot write to the output s3://no-such-bucket/x"):
        RunFolder.create("s3://no-such-bucket/x")


def test_an_existing_run_opens(bucket):
    RunFolder(f"{bucket}/x").write_bytes(SWEEP, b"name: x")
    assert RunFolder.existing(f"{bucket}/x").read_bytes(SWEEP) == b"name: x"
