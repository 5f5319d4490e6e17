"""What the driver knows of one study while it is at work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import optuna

from search.assignment import Assignment
from search.space import Range
from search.studies import Study
from search.worker.trial_rows import Progress


@dataclass
class Running:
    """A trial that is being carried out, and what it said last."""

    assignment: Assignment
    trial_id: int
    progress: Progress | None = None


@dataclass
class Book:
    """One study: its space, its Optuna study once it has begun, and a count of its trials."""

    study: Study
    space: dict[str, Range]
    budget: int
    optuna: optuna.Study | None = None
    asked: int = 0
    running: dict[str, Running] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    # Best value of a completed trial, and the trial's number; of equals, the later one's.
    leader: tuple[float, int] | None = None

    @property
    def best(self) -> float | None:
        return self.leader and self.leader[0]

    @property
    def leading(self) -> str | None:
        return self.leader and f"{self.study.id}.{self.leader[1]}"

    @property
    def open(self) -> bool:
        """Whether more trials may be asked for."""
        return self.asked < self.budget

    @property
    def done(self) -> bool:
        return self.ended.total() >= self.budget

    def trials(self) -> list[str]:
        """Names of all its trials, in order."""
        return [f"{self.study.id}.{number}" for number in range(self.budget)]
