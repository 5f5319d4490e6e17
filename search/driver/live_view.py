"""Shows the progress of a sweep on the terminal while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.text import Text

from search.driver.ledger import Ledger
from search.run.run_folder import RunFolder
from search.screen import StudyProgress, clock_time, console, progress_table

LINE_SECONDS = 15.0


@contextmanager
def live_progress(sweep: str, ledger: Ledger, folder: RunFolder) -> Iterator[None]:
    """Redraws a table of the studies; without a terminal, prints a line every LINE_SECONDS."""
    screen = console()
    clock = Clock(ledger)
    if screen.is_terminal:
        with Live(
            get_renderable=lambda: Group(
                progress_table(sweep, rows_of(ledger)), Text(clock.line(), style="dim")
            ),
            console=screen,
            refresh_per_second=2,
        ):
            yield
        return
    done = threading.Event()

    def print_lines() -> None:
        while not done.wait(LINE_SECONDS):
            print(clock.line(), flush=True)

    print(f"{sweep}: {clock.line()}, in {folder.uri}", flush=True)
    thread = threading.Thread(target=print_lines, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        print(clock.line(), flush=True)


class Clock:
    """Elapsed and remaining time.

    What is left is estimated from what trials have done since the first of them reported: before,
    Ray and its workers start, which says nothing of the trials. Nothing is said until half a trial
    of each worker is done.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._began = time.monotonic()
        self._ended_before = sum(row.count for row in rows_of(ledger))
        self._retrains = any(r.plan.training.retrain != "none" for r in ledger.records.values())
        self._since: tuple[float, float] | None = None  # the time, and what was done by then

    def line(self) -> str:
        """One line on the trials and the time."""
        rows = rows_of(self._ledger)
        total = sum(row.trials for row in rows)
        ended = sum(row.count for row in rows)
        running = sum(row.running for row in rows)
        elapsed = time.monotonic() - self._began
        waiting = self._waiting()
        wait = f", {waiting} of later seeds waiting" if waiting else ""
        at_work = self._at_work()
        if ending := at_work.count(1.0):  # the last step is reported, and the end is not
            doing = "a second stage" if self._retrains else "held-out images are scored"
            wait = f" ({ending} after the last step: {doing}){wait}"
        text = f"{ended} of {total} trials ended, {running} running{wait}"
        text += f", {clock_time(elapsed)} elapsed"
        now = time.monotonic()
        done = ended + sum(at_work)
        if self._since is None and (any(at_work) or ended > self._ended_before):
            self._since = now, done
        left = running + self._ledger.left - sum(at_work)
        if self._since is not None and left > 0:
            since, before = self._since
            if done - before >= max(running, 1) / 2:
                most = "at most " if waiting else ""  # some of them may stay untrained
                text += f", {most}about {clock_time((now - since) / (done - before) * left)} left"
        return text

    def _waiting(self) -> int:
        """Trials of a mean over seeds that begin if it may win with the seeds before."""
        later = [r for r in list(self._ledger.records.values()) if r.first is not None]
        return sum(r.max_trials - r.ended.total() - len(r.running) for r in later)

    def _at_work(self) -> list[float]:
        """The share of its steps that each running trial has done."""
        running = [
            own for r in list(self._ledger.records.values()) for own in [*r.running.values()]
        ]
        return [
            min(own.progress.step / own.spec.plan.total_steps, 1.0)
            for own in running
            if own.progress is not None and own.spec.plan.total_steps
        ]


def rows_of(ledger: Ledger) -> list[StudyProgress]:
    """The progress of each study."""
    return [
        StudyProgress(
            record.study.dataset,
            record.study.algorithm,
            record.study.held_out,
            str(record.study.seed),
            record.max_trials,
            len(record.running),
            record.ended.copy(),  # a thread draws it while the ledger counts
            record.best,
            len(record.frozen),
            record.untrained,
        )
        for record in ledger.records.values()
    ]
