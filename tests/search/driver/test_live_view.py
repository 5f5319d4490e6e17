import io
import time

import pytest
from rich.console import Console

from search.driver import live_view
from search.driver.live_view import Clock, live_progress, rows_of
from search.screen import progress_table
from tests.search.command import wait_until
from tests.search.play import finish, open_ledger, said, small_sweep


def cells(ledger) -> list[list[str]]:
    """Of each line that is drawn."""
    console = Console(file=io.StringIO(), width=120)
    console.print(progress_table("played", rows_of(ledger)))
    lines = [line for line in console.file.getvalue().splitlines() if "│" in line]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def test_a_study_has_a_line_with_its_counts_and_its_best_validation(folder):
    ledger = open_ledger(small_sweep(algorithms=["ERM", "SAGM"]), folder)
    specs = [ledger.next() for _ in range(3)]
    finish(ledger, folder, specs[0], 0.8125)
    ledger.fail(specs[1], "no")
    erm, sagm = cells(ledger)
    assert erm == ["ERM", "0", "0", "1/4", "1", "0", "0", "1", "81.2"]
    assert sagm == ["SAGM", "0", "0", "1/4", "0", "0", "1", "", ""]


def test_many_studies_are_drawn_as_a_line_per_algorithm(folder):
    sweep = small_sweep(algorithms=["ERM", "SAGM"], held_out="all", seeds=[0, 1, 2])
    ledger = open_ledger(sweep, folder)
    finish(ledger, folder, ledger.next(), 0.5)
    ledger.next()
    erm, _ = cells(ledger)
    assert erm == ["ERM", "6 domains", "3", "1/72", "1", "0", "0", "1", ""]


def test_what_is_drawn_does_not_change_while_the_ledger_counts_on(folder):
    ledger = open_ledger(small_sweep(), folder)
    (row,) = rows_of(ledger)
    finish(ledger, folder, ledger.next(), 0.5)
    assert row.count == 0
    assert rows_of(ledger)[0].count == 1


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """What a clock of monotonic time shows."""
    shown = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: shown[0])
    return shown


def test_the_time_left_is_estimated_from_the_trials_of_this_session_alone(folder, now):
    sweep = small_sweep(search={"trials": 10})
    ledger = open_ledger(sweep, folder)
    for _ in range(4):
        finish(ledger, folder, ledger.next(), 0.5)
    resumed = open_ledger(sweep, folder)
    clock = Clock(resumed)
    assert clock.line() == "4 of 10 trials ended, 0 running, 0:00:00 elapsed"
    now[0] += 500.0  # Ray starts, and its workers
    running = resumed.next()
    assert " left" not in clock.line()
    resumed.report(running, said(9, 0.5))
    assert " left" not in clock.line()
    now[0] += 90.0
    resumed.report(running, said(18, 0.5))
    assert " left" not in clock.line()  # of a tenth of a trial
    now[0] += 810.0
    resumed.report(running, said(90, 0.5))
    assert "1 running (1 after the last step: held-out images are scored)" in clock.line()
    finish(resumed, folder, running, 0.5)
    resumed.report(resumed.next(), said(45, 0.5))
    now[0] += 500.0
    line = "5 of 10 trials ended, 1 running, 0:31:40 elapsed, about 1:15:00 left"
    assert clock.line() == line


def test_trials_of_later_seeds_wait_and_may_stay_untrained(folder, now):
    search = {"trials": 3, "objective_over": "seeds"}
    ledger = open_ledger(small_sweep(seeds=[0, 1], search=search), folder)
    clock = Clock(ledger)
    assert "0 of 6 trials ended, 0 running, 3 of later seeds waiting," in clock.line()
    for value in (0.9, 0.9, 0.1):
        running = ledger.next()
        ledger.report(running, said(45, value))
        clock.line()
        now[0] += 100.0
        finish(ledger, folder, running, value)
    assert "3 of 6 trials ended, 0 running, 2 of later seeds waiting," in clock.line()
    assert ", at most about " in clock.line()


def test_without_a_terminal_there_is_a_line_now_and_then(folder, monkeypatch, capsys):
    monkeypatch.setattr(live_view, "LINE_SECONDS", 0.05)
    ledger = open_ledger(small_sweep(), folder)
    with live_progress("played", ledger, folder):
        finish(ledger, folder, ledger.next(), 0.5)
        printed: list[str] = []

        def two_more() -> bool:
            printed.append(capsys.readouterr().out)
            return "".join(printed).count("\n") >= 3

        wait_until(two_more, 120, "lines now and then")
    lines = ("".join(printed) + capsys.readouterr().out).splitlines()
    assert lines[0].startswith("played: 0 of 4 trials ended, 0 running, ")
    assert lines[0].endswith(f", in {folder.uri}")
    assert len(lines) >= 3
    assert all(" of 4 trials ended, " in line for line in lines)
    assert lines[-1].startswith("1 of 4 trials ended")
    assert not any("\x1b" in line for line in lines)


def test_the_line_stops_when_the_sweep_fails(folder, monkeypatch, capsys):
    monkeypatch.setattr(live_view, "LINE_SECONDS", 0.01)
    ledger = open_ledger(small_sweep(), folder)
    with pytest.raises(ZeroDivisionError), live_progress("played", ledger, folder):
        _ = 1 / 0
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().out == ""
