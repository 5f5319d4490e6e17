"""What the driver knows of one study while it is at work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import optuna

from search.study.plan import StudyPlan, TrialSpec
from search.study.study import Study
from search.worker.trial_rows import Progress


@dataclass
class Running:
    """A trial that is being carried out, and its newest report."""

    spec: TrialSpec
    trial_id: int
    progress: Progress | None = None


@dataclass
class StudyRecord:
    """One study: its plan, its Optuna study once it has begun, and a count of its trials.

    max_trials: how many it may have. It begins as the plan's, and changes as seeds are reduced and
    studies are stopped. after: the study that this one waits for, to try its best settings. asked:
    trials that it has had. closed: its budget is spent, or that of the sweep (BudgetGuard).
    leader: best value of a completed trial, and the trial's number; of equals, the later one's.
    """

    plan: StudyPlan
    max_trials: int
    after: StudyRecord | None = None
    optuna: optuna.Study | None = None
    asked: int = 0
    closed: bool = False
    running: dict[str, Running] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    leader: tuple[float, int] | None = None

    @property
    def study(self) -> Study:
        return self.plan.study

    @property
    def best(self) -> float | None:
        return self.leader and self.leader[0]

    @property
    def leading(self) -> str | None:
        """Name of the trial that leads."""
        return self.leader and f"{self.study.id}.{self.leader[1]}"

    @property
    def ready(self) -> bool:
        """Whether it may begin, or go on: those before it have ended."""
        return self.after is None or (self.after.ready and self.after.done)

    @property
    def open(self) -> bool:
        """Whether more trials may be asked for."""
        return self.ready and not self.full

    @property
    def full(self) -> bool:
        """Whether it has had all the trials that it may have, or spent what it may spend."""
        return self.closed or self.asked >= self.max_trials

    @property
    def done(self) -> bool:
        """Whether no trial of it is at work or to come."""
        return self.full and self.ended.total() >= self.asked

    @property
    def cut(self) -> bool:
        """Whether a budget ended it before its last trial, so that it may go on with a larger."""
        return self.closed and self.asked < self.max_trials

    def trials(self) -> list[str]:
        """Names of all its trials, in order."""
        return [f"{self.study.id}.{number}" for number in range(self.max_trials)]
