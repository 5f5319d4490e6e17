import json
import os
import socket
import time
from dataclasses import asdict

import pytest

from search.cli.status import print_status
from search.run import lease
from tests.search.play import finish, open_ledger, play, record, said, small_sweep

WHOLE = small_sweep(algorithms=["ERM", "SAGM"], search={"trials": 3})


@pytest.fixture
def shown(folder, capsys):
    """What the status prints: the rows of the table by algorithm, and what is below it."""
    record(WHOLE, folder)

    def status() -> tuple[dict[str, list[str]], str]:
        print_status(folder.uri)
        text = capsys.readouterr().out
        lines = [line.split("│")[1:-1] for line in text.splitlines() if line.startswith("│")]
        rows = {cells[0].strip(): [cell.strip() for cell in cells[3:]] for cells in lines}
        below = text[text.index("└") :].split("\n", 1)[1]
        return rows, " ".join(below.split())

    return status


def test_a_run_that_has_not_begun_is_not_complete(folder, shown):
    rows, below = shown()
    assert rows == {"ERM": ["0/3", "0", "0", "0", "", ""], "SAGM": ["0/3", "0", "0", "0", "", ""]}
    assert "would continue 0 trials and start 6" in below
    assert not folder.exists("optuna.journal")


def test_trials_are_counted_by_how_they_ended(folder, shown):
    ledger = open_ledger(WHOLE, folder)
    erm, sagm = ledger.next(), ledger.next()
    finish(ledger, folder, erm, 0.75)
    ledger.report(sagm, said(10, 0.5))
    ledger.prune(sagm)
    failed, diverged = ledger.next(), ledger.next()
    ledger.fail(failed, "no")
    finish(ledger, folder, diverged, 0.9, "diverged", step=20, reason="not finite")
    ledger.next()
    before = folder.read_bytes("optuna.journal")
    rows, below = shown()
    assert rows == {
        "ERM": ["2/3", "1", "0", "1", "1", "75.0"],
        "SAGM": ["2/3", "0", "1", "1", "", ""],
    }
    assert f"4 of 6 trials ended, in {folder.uri}" in below
    assert f"resume {folder.uri}` would continue 1 trials and start 1" in below
    assert folder.read_bytes("optuna.journal") == before


def test_a_complete_run_is_complete(folder, shown):
    play(WHOLE, folder, 6)
    _, below = shown()
    assert below.endswith("complete")


def test_a_driver_at_work_is_named_and_one_that_is_gone_too(folder, shown):
    pid, now = os.getpid(), time.time()
    host = socket.gethostname()
    here = lease.Holder("x", host, pid, lease._born(pid), now - 3)
    folder.write_bytes(lease.LEASE, json.dumps(asdict(here)).encode())
    _, below = shown()
    assert f"driven by process {pid} on {host}, last heard of 3 s ago" in below
    gone = lease.Holder("x", "elsewhere", 7, 0.0, now - 1000)
    folder.write_bytes(lease.LEASE, json.dumps(asdict(gone)).encode())
    _, below = shown()
    assert "its driver, process 7 on elsewhere, is gone; nobody is at work on it" in below


def test_what_ended_or_stopped_a_run_is_said(folder, capsys):
    search = {"trials": 3, "terminator": "stagnation", "patience": 1}
    search |= {"budget": {"trials": 5}, "study_budget": {"cpu_hours": 1}}
    sweep = small_sweep(algorithms=["ERM", "SAGM"], search=search)
    record(sweep, folder)
    ledger = open_ledger(sweep, folder)
    while (spec := ledger.next()) is not None:
        rising = 0.1 * spec.number if spec.study.algorithm == "SAGM" else 0.5
        finish(ledger, folder, spec, rising)
    print_status(folder.uri)
    text = capsys.readouterr().out
    assert "│ ERM       │ 0        │    0 │    2/2 │" in text
    assert "│ SAGM      │ 0        │    0 │    3/4 │" in text
    assert "5 of 6 trials ended" in text
    assert "studies stopped, as they no longer improved: 1" in text
    assert "search.budget.trials: 5 of 5 spent" in text
    assert "ended by its budget: `launch` with more search.budget.trials goes on" in text


def test_what_waits_for_a_larger_budget_is_said(folder, capsys):
    search = {"trials": 3, "scheduler": "freeze-thaw", "grace_steps": 10}
    sweep = small_sweep(search=search | {"budget": {"trials": 2}})
    record(sweep, folder)
    ledger = open_ledger(sweep, folder)
    first = ledger.next()
    ledger.report(first, said(10, 0.5))
    ledger.freeze(first)
    second = ledger.next()
    ledger.report(second, said(90, 0.8))
    finish(ledger, folder, second, 0.8)
    assert ledger.next() is None
    assert ledger.left == 0
    print_status(folder.uri)
    text = capsys.readouterr().out
    assert "frozen trials, which may be trained further: 1" in text
    assert "goes on, and with 1 trials that wait" in text
