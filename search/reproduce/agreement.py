"""Whether the numbers of a repetition are those of the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from search.reproduce.recorded_trial import KEYS
from search.worker.trial_rows import evaluation_rows
from training.evaluation import Evaluation

NUMBERS = ["accuracy", "loss", "sharpness", "curvature"]


@dataclass(frozen=True)
class Difference:
    """A number of the table that is another here, or missing (None)."""

    where: str
    number: str
    table: float
    here: float | None

    @property
    def size(self) -> float:
        return math.inf if self.here is None else abs(self.here - self.table)

    def __str__(self) -> str:
        if self.here is None:
            return f"{self.where}: {self.number} is in the table alone"
        by = self.here - self.table
        return (
            f"{self.where}: {self.number} {self.table!r} in the table, {self.here!r} here "
            f"({by:+.3g})"
        )


@dataclass(frozen=True)
class Agreement:
    """count: numbers of the table that were compared. differences: in the table's order. end: a
    sentence, if the trial ended otherwise."""

    count: int
    differences: tuple[Difference, ...]
    end: str = ""

    @property
    def whole(self) -> bool:
        return not self.differences and not self.end

    def sentences(self) -> list[str]:
        """What a person wants to know: whether, and if not where first and by how much."""
        lines = [self.end] if self.end else []
        if not self.differences:
            what = f"All {self.count} numbers agree, to the last bit."
            return [*lines, what if self.count else "There are no numbers to compare."]
        lines += [
            f"{len(self.differences)} of {self.count} numbers differ.",
            f"First: {self.differences[0]}",
        ]
        for number in NUMBERS:
            own = [d for d in self.differences if d.number == number and d.here is not None]
            if own:
                lines.append(f"Largest of {number}: {max(own, key=lambda d: d.size)}")
        return lines


def compare(table: pd.DataFrame, evaluations: Sequence[Evaluation]) -> Agreement:
    """Every number of the rows of `table`, bit for bit, with that of the repetition.

    What only the repetition has is no difference: a trial that was stopped was scored less.
    """
    here = {tuple(row[key] for key in KEYS): row for row in evaluation_rows(evaluations)}
    count, found = 0, []
    for row in table.to_dict("records"):
        place = tuple(row[key] for key in KEYS)
        step, weights, domain, split = place
        average = ", average" if weights == "average" else ""
        where = f"step {step}{average}, domain {domain}, {split} split"
        for number in NUMBERS:
            old, new = _number(row[number]), _number(here.get(place, {}).get(number))
            count += old is not None
            if old is not None and old != new:
                found.append(Difference(where, number, old, new))
    return Agreement(count, tuple(found))


def _number(value: float | None) -> float | None:
    # pandas shows a null as a NaN, and a score that is none is as good as missing.
    return None if value is None or math.isnan(value) else value
