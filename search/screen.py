"""What commands draw on a terminal: names that a reader can tell apart, and tables of studies."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # who reads results in pandas need not have it
    from rich.console import Console, RenderableType

# Of more studies a table shows the sums of each dataset and algorithm.
MAX_ROWS = 24

# Characters that change the direction of what follows, so that a line reads otherwise than it is.
_DIRECTION = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# Control characters, parts of characters (of names that are not UTF-8), ends of lines.
_CONTROL = ("Cc", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    r"""The text on one line, with escapes such as `\n` and `\x1b` for control characters."""
    if text.isprintable() and not text.isspace():
        return text
    return "".join(
        repr(c)[1:-1] if unicodedata.category(c) in _CONTROL or c in _DIRECTION else c for c in text
    )


def clock_time(seconds: float) -> str:
    """A time span as `hours:minutes:seconds`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02}:{rest:02}"


def console() -> Console:
    """A console that prints text as it is: `[red]` or `:car:` may be the name of a domain.

    Where there is no terminal, tables are 120 columns wide.
    """
    from rich.console import Console

    width = None if Console().is_terminal else 120
    return Console(width=width, highlight=False, markup=False, emoji=False)


@dataclass(frozen=True)
class StudyProgress:
    """How far one study has come, or all studies of an algorithm on a dataset.

    trials: how many it is to have. ended: trials by state. best: validation accuracy. frozen: how
    many wait (search.scheduler: freeze-thaw). untrained: how many of the pruned ones were not
    trained at all (search.objective_over: seeds).
    """

    dataset: str
    algorithm: str
    held_out: str
    seed: str
    trials: int
    running: int
    ended: Counter[str]
    best: float | None
    frozen: int = 0
    untrained: int = 0

    @property
    def count(self) -> int:
        """Trials that have ended."""
        return sum(self.ended.values())


def progress_table(title: str, studies: Iterable[StudyProgress]) -> RenderableType:
    """A row per study; of more than MAX_ROWS studies, a row per dataset and algorithm."""
    from rich.table import Table
    from rich.text import Text

    studies = list(studies)
    if len(studies) > MAX_ROWS:
        studies = _by_algorithm(studies)
    table = Table(title=title, title_justify="left", title_style="bold")
    several = len({study.dataset for study in studies}) > 1
    if several:
        table.add_column("dataset")
    table.add_column("algorithm")
    table.add_column("held out")
    table.add_column("seed", justify="right")
    waiting = any(study.frozen for study in studies)
    untrained = any(study.untrained for study in studies)
    names = ["trials", "done", "pruned", *["untrained"] * untrained, "failed", "running"]
    names += ["frozen"] * waiting
    for name in (*names, "best validation"):
        table.add_column(name, justify="right")
    for study in studies:
        failed = study.ended["failed"] + study.ended["diverged"]
        table.add_row(
            *[study.dataset] * several,
            study.algorithm,
            printable(study.held_out),
            study.seed,
            f"{study.count}/{study.trials}",
            str(study.ended["completed"]),
            str(study.ended["pruned"] - study.untrained),
            *[str(study.untrained)] * untrained,
            Text(str(failed), style="red" if failed else ""),
            str(study.running or ""),
            *[str(study.frozen or "")] * waiting,
            "" if study.best is None else f"{100 * study.best:.1f}",
        )
    return table


def _by_algorithm(studies: Iterable[StudyProgress]) -> list[StudyProgress]:
    groups: dict[tuple[str, str], list[StudyProgress]] = {}
    for study in studies:
        groups.setdefault((study.dataset, study.algorithm), []).append(study)
    return [
        StudyProgress(
            dataset,
            algorithm,
            f"{len({study.held_out for study in group})} domains",
            str(len({study.seed for study in group})),
            sum(study.trials for study in group),
            sum(study.running for study in group),
            sum((study.ended for study in group), Counter()),
            None,
            sum(study.frozen for study in group),
            sum(study.untrained for study in group),
        )
        for (dataset, algorithm), group in groups.items()
    ]
