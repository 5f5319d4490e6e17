"""optuna-dashboard shows the studies of a run and changes nothing in it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from search.cli import dashboard
from search.cli.dashboard import WatchedJournal, application
from search.run.run_folder import RunFolder
from search.run.storage import JOURNAL
from tests.search.command import refused
from tests.search.play import open_ledger, play, small_sweep
from tests.search.report.played_run import begin

pytest.importorskip("optuna_dashboard", reason="needs pip install '.[dashboard]'")
Client = pytest.importorskip("werkzeug.test", reason="needs flask").Client


@pytest.fixture
def folder(folder: RunFolder) -> RunFolder:
    begin(small_sweep(), folder)
    return folder


def studies(client: Client) -> list[dict[str, object]]:
    return client.get("/api/studies").json["study_summaries"]


def test_the_studies_and_their_trials_are_shown_also_those_that_come_later(folder):
    sweep = small_sweep()
    ledger = open_ledger(sweep, folder)
    play(sweep, folder, 1, ledger)
    client = Client(application(folder))
    (study,) = studies(client)
    assert study["study_name"] == "RotatedDigits.mlp.SAGM.0.0"
    play(sweep, folder, 2, ledger)
    shown = client.get(f"/api/studies/{study['study_id']}").json
    assert [trial["state"] for trial in shown["trials"]] == ["Complete"] * 3


def test_nothing_in_the_run_can_be_changed(folder):
    play(small_sweep(), folder, 1)
    before = Path(folder.path(JOURNAL)).read_bytes()
    client = Client(application(folder))
    (study,) = studies(client)
    answer = client.delete(f"/api/studies/{study['study_id']}")
    assert answer.status_code == 500
    assert studies(client) == [study]
    assert Path(folder.path(JOURNAL)).read_bytes() == before


def test_a_journal_of_blocks_is_read_as_it_grows(folder, monkeypatch):
    monkeypatch.setattr(dashboard, "REFRESH_SECONDS", 0.0)
    lines = [b'{"op_code": %d}\n' % i for i in range(4)]
    folder.write_bytes(f"{JOURNAL}/00000000.jsonl", b"".join(lines[:2]))
    journal = WatchedJournal(folder)
    assert [log["op_code"] for log in journal.read_logs(0)] == [0, 1]
    folder.write_bytes(f"{JOURNAL}/00000000.jsonl", b"".join(lines[:3]))
    folder.write_bytes(f"{JOURNAL}/00000001.jsonl", lines[3])
    assert [log["op_code"] for log in journal.read_logs(2)] == [2, 3]


def test_a_run_in_which_no_trial_has_begun_is_refused_and_left_alone(folder):
    assert "no trial of" in refused("dashboard", folder.uri)
    assert not Path(folder.path(JOURNAL)).exists()


def test_without_the_package_the_way_to_it_is_named(folder, monkeypatch):
    play(small_sweep(), folder, 1)
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert "pip install '.[dashboard]'" in refused("dashboard", folder.uri)


def test_a_port_in_use_is_named(folder):
    play(small_sweep(), folder, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "--port" in refused("dashboard", folder.uri, "--port", taken.getsockname()[1])
