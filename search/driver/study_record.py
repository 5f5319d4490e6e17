"""The driver's record of one study."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial

from search.study.plan import StudyPlan, TrialSpec
from search.study.study import Study
from search.study.trial_attributes import UNTRAINED
from search.worker.trial_rows import Progress


@dataclass
class Running:
    """A trial that is being carried out.

    trial_id: Optuna's. progress: its newest report. frozen: whether it is to leave its worker.
    """

    spec: TrialSpec
    trial_id: int
    progress: Progress | None = None
    frozen: bool = False


@dataclass
class StudyRecord:
    """One study: its plan, its Optuna study once it has begun, and a count of its trials.

    max_trials: how many it may have; the plan's number, until seeds are reduced or studies are
    stopped. previous: the study that this one waits for, to try its best settings. first: the study
    of the first seed, whose settings it trains under the same numbers (SeedMeans). asked: trials
    begun so far. closed: its budget or the sweep's is spent (BudgetGuard). running: by trial name.
    frozen: trials that have left their worker and may go on (Freezing), by name. resting: whether
    they wait for a larger budget. ended: number of trials by state. untrained: of those that ended,
    how many were not trained at all. ranked: value and number of its completed trials, the best
    last; among equals, the latest is better.
    """

    plan: StudyPlan
    max_trials: int
    previous: StudyRecord | None = None
    first: StudyRecord | None = None
    optuna: optuna.Study | None = None
    asked: int = 0
    closed: bool = False
    running: dict[str, Running] = field(default_factory=dict)
    frozen: dict[str, Running] = field(default_factory=dict)
    resting: bool = False
    ended: Counter[str] = field(default_factory=Counter)
    untrained: int = 0
    ranked: list[tuple[float, int]] = field(default_factory=list)

    @property
    def study(self) -> Study:
        """The study of the plan."""
        return self.plan.study

    @property
    def leader(self) -> tuple[float, int] | None:
        """The value and the number of its best completed trial."""
        return self.ranked[-1] if self.ranked else None

    @property
    def best(self) -> float | None:
        """The best value of a completed trial."""
        return self.leader and self.leader[0]

    @property
    def best_trial(self) -> str | None:
        """The name of the best completed trial."""
        return self.leader and self._name(self.leader[1])

    @property
    def kept(self) -> list[str]:
        """The names of the trials whose weights are kept."""
        most = self.plan.search.most_kept
        best = self.ranked if most is None else self.ranked[len(self.ranked) - most :]
        return [self._name(number) for _, number in best] if most != 0 else []

    def put_away(self, number: int) -> list[str]:
        """The trials whose weights are no longer kept once that of this number has ended."""
        if self.plan.search.keep_weights == "none":
            return []
        place = next((n for n, (_, other) in enumerate(self.ranked) if other == number), None)
        if place is None:  # it has not completed
            return [self._name(number)]
        most = self.plan.search.most_kept
        first = 0 if most is None else len(self.ranked) - most
        if first <= 0:
            return []
        # The best of those that are not kept: it, or the one that it put away.
        return [self._name(number if place < first else self.ranked[first - 1][1])]

    @property
    def ready(self) -> bool:
        """Whether the studies that it waits for have ended."""
        return self.previous is None or (self.previous.ready and self.previous.done)

    @property
    def open(self) -> bool:
        """Whether it may have another trial now."""
        return self.ready and not self.full

    @property
    def full(self) -> bool:
        """Whether it has begun all its trials, or spent its budget."""
        return self.closed or self.asked >= self.max_trials

    @property
    def done(self) -> bool:
        """Whether none of its trials is running or still to come, unless a budget grows."""
        resting = len(self.frozen) if self.resting else 0
        return self.full and self.ended.total() + resting >= self.asked

    @property
    def ended_by_budget(self) -> bool:
        """Whether a budget ended it before its last trial, so that a larger one continues it."""
        return self.closed and (self.asked < self.max_trials or bool(self.frozen))

    def trials(self) -> list[str]:
        """The names of all its trials, in order."""
        return [self._name(number) for number in range(self.max_trials)]

    def _name(self, number: int) -> str:
        return f"{self.study.id}.{number}"

    def count(self, trial: FrozenTrial, state: str, values: Sequence[float]) -> None:
        """Counts a trial that has ended. values: of the objectives, if it completed."""
        self.ended[state] += 1
        self.untrained += bool(trial.user_attrs.get(UNTRAINED))
        if state == "completed" and values:
            insort(self.ranked, (values[0], trial.number))
