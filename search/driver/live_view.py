"""What a person sees while a sweep runs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from search.driver.ledger import Ledger
from search.run.run_folder import RunFolder
from search.screen import printable

LINE_SECONDS = 15.0
MOST_ROWS = 24


@dataclass(frozen=True)
class Row:
    """How far one study, or all studies of an algorithm on a dataset, have come."""

    dataset: str
    algorithm: str
    held_out: str
    seed: str
    budget: int
    running: int
    ended: Counter[str]
    best: float | None

    @property
    def count(self) -> int:
        return sum(self.ended.values())


def console() -> Console:
    """A console that leaves tables whole where there is no terminal to fit them to.

    It prints text as it is: `[red]` or `:car:` may be somebody's domain.
    """
    width = None if Console().is_terminal else 120
    return Console(width=width, highlight=False, markup=False, emoji=False)


@contextmanager
def progress(sweep: str, ledger: Ledger, folder: RunFolder) -> Iterator[None]:
    """One table that is drawn again and again; where there is no terminal, a line now and then."""
    screen = console()
    clock = Clock(ledger)
    if screen.is_terminal:
        with Live(
            get_renderable=lambda: Group(
                table(sweep, rows_of(ledger)), Text(clock.line(), style="dim")
            ),
            console=screen,
            refresh_per_second=2,
        ):
            yield
        return
    done = threading.Event()

    def talk() -> None:
        while not done.wait(LINE_SECONDS):
            print(clock.line(), flush=True)

    print(f"{sweep}: {clock.line()}, in {folder.uri}", flush=True)
    thread = threading.Thread(target=talk, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        print(clock.line(), flush=True)


class Clock:
    """Elapsed and remaining time, from the trials that ended since the driver started."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._began = time.monotonic()
        self._ended_before = sum(row.count for row in rows_of(ledger))

    def line(self) -> str:
        rows = rows_of(self._ledger)
        total = sum(row.budget for row in rows)
        ended = sum(row.count for row in rows)
        running = sum(row.running for row in rows)
        elapsed = time.monotonic() - self._began
        text = f"{ended} of {total} trials ended, {running} running, {_clock(elapsed)} elapsed"
        new = ended - self._ended_before
        left = running + self._ledger.left
        if new and left:
            text += f", about {_clock(elapsed / new * left)} left"
        return text


def rows_of(ledger: Ledger) -> list[Row]:
    return [
        Row(
            record.study.dataset,
            record.study.algorithm,
            record.study.held_out,
            str(record.study.seed),
            record.max_trials,
            len(record.running),
            record.ended.copy(),  # drawn by a thread while the ledger counts on
            record.best,
        )
        for record in ledger.records.values()
    ]


def table(title: str, rows: Iterable[Row]) -> RenderableType:
    """A line per study; of many studies, a line per dataset and algorithm."""
    rows = list(rows)
    if len(rows) > MOST_ROWS:
        rows = _by_algorithm(rows)
    drawn = Table(title=title, title_justify="left", title_style="bold")
    several = len({row.dataset for row in rows}) > 1
    if several:
        drawn.add_column("dataset")
    drawn.add_column("algorithm")
    drawn.add_column("held out")
    drawn.add_column("seed", justify="right")
    for name in ("trials", "done", "pruned", "failed", "running", "best validation"):
        drawn.add_column(name, justify="right")
    for row in rows:
        failed = row.ended["failed"] + row.ended["diverged"]
        drawn.add_row(
            *[row.dataset] * several,
            row.algorithm,
            printable(row.held_out),
            row.seed,
            f"{row.count}/{row.budget}",
            str(row.ended["completed"]),
            str(row.ended["pruned"]),
            Text(str(failed), style="red" if failed else ""),
            str(row.running or ""),
            "" if row.best is None else f"{100 * row.best:.1f}",
        )
    return drawn


def _by_algorithm(rows: Iterable[Row]) -> list[Row]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.algorithm), []).append(row)
    return [
        Row(
            dataset,
            algorithm,
            f"{len({row.held_out for row in group})} domains",
            str(len({row.seed for row in group})),
            sum(row.budget for row in group),
            sum(row.running for row in group),
            sum((row.ended for row in group), Counter()),
            None,
        )
        for (dataset, algorithm), group in groups.items()
    ]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
