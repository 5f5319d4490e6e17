"""The driver's record of one study and of how its trials ended, in memory and in Optuna's storage.

A trial's row is written into the tables first, and its end is then recorded in the storage. When a
driver opens the storage, it records the ends that have only a row; other trials are still to be
finished.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.errors import SteppeError
from search.run import tables
from search.run.columns import FROZEN
from search.run.run_folder import RunFolder
from search.run.storage import JOURNAL, SweepStorage
from search.study import samplers
from search.study.plan import StudyPlan, TrialSpec
from search.study.study import Study
from search.worker.trial_rows import Progress, values_of

# Attributes of a trial in Optuna's storage.
# Optuna has no state for a diverged run, so the tables' state is kept besides.
STATE = "state"
REASON = "reason"
FAILURES = "failures"  # failed attempts since it last got further
JUDGED = "judged"  # step of its newest report, and whether that report stops or freezes it
UNTRAINED = "untrained"  # why it is to end without being trained
IMAGES = "images"  # how many its reports are measured on


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
    def best(self) -> float | None:
        """The best value of a completed trial."""
        return self.ranked[-1][0] if self.ranked else None

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
        return self.asked < self.max_trials and not self.closed and self.ready

    @property
    def draws_next(self) -> bool:
        """Whether it may have another trial now, whose setting is drawn at random."""
        drawn = samplers.drawn_at_random(self.plan.search)
        return self.open and (drawn is None or self.asked < drawn)

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

    def end(self, storage: SweepStorage, trial_id: int, row: Mapping[str, Any]) -> None:
        """Tells Optuna how a trial ended, as its row in `trials` says, and counts it."""
        assert self.optuna is not None
        number = storage.get_trial(trial_id).number
        storage.set_trial_user_attr(trial_id, STATE, row["state"])
        if row["reason"]:
            storage.set_trial_user_attr(trial_id, REASON, row["reason"])
        if row["state"] == "completed":
            self.optuna.tell(number, values_of(row))
        else:
            # Samplers rank a pruned trial behind completed ones, which is the right place for a
            # setting that diverged: if it were reported as failed, they would suggest it again.
            ended = TrialState.FAIL if row["state"] == "failed" else TrialState.PRUNED
            self.optuna.tell(number, state=ended)
        self.count(storage.get_trial(trial_id))

    def count(self, trial: FrozenTrial) -> None:
        """Counts a trial that has ended."""
        state = state_of(trial)
        assert state is not None
        self.ended[state] += 1
        self.untrained += bool(trial.user_attrs.get(UNTRAINED))
        if state == "completed" and trial.values:
            insort(self.ranked, (trial.values[0], trial.number))


@dataclass(frozen=True)
class Unfinished:
    """A trial that an earlier attempt left.

    progress: its last report, if that is known. frozen: whether it waits, and need not go on.
    """

    record: StudyRecord
    trial_id: int
    progress: Progress | None = None
    frozen: bool = False


def is_frozen(trial: FrozenTrial) -> bool:
    """Whether a trial of a study with freeze-thaw waits, or is about to."""
    return trial.state == TrialState.RUNNING and bool(trial.user_attrs.get(JUDGED, (-1, False))[1])


def state_of(trial: FrozenTrial) -> str | None:
    """completed, pruned, diverged or failed; None for a trial that has not ended."""
    if not trial.state.is_finished():
        return None
    plain = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned"}
    return str(trial.user_attrs.get(STATE, plain.get(trial.state, "failed")))


def check_begun(storage: SweepStorage, folder: RunFolder, plans: Mapping[str, StudyPlan]) -> None:
    """Raises SteppeError if trials in the tables are unknown to the storage, as to an old copy.

    Their numbers would be given to other trials. A trial is in the storage before a worker has it,
    and the ends of a study's trials before its tables are merged.
    """
    begun = {study.study_name: study._study_id for study in storage.get_all_studies()}
    parts: dict[str, list[int]] = {}
    for name in tables.ended_studies(folder):
        study, _, number = name.rpartition(".")
        if study in plans and number.isdecimal():
            parts.setdefault(study, []).append(int(number))
        if name in plans:
            parts.setdefault(name, [])
    for study, numbers in parts.items():
        own = storage.get_all_trials(begun[study], deepcopy=False) if study in begun else []
        known = {trial.number for trial in own if trial.state != TrialState.WAITING}
        ended = {trial.number for trial in own if trial.state.is_finished()}
        unknown = [
            number
            for number in sorted(set(numbers) - known)
            # A trial that ends untrained is given to no worker.
            if (tables.read_trial(folder, f"{study}.{number}") or {}).get("steps") != 0
        ]
        if len(ended) < plans[study].trials:
            unknown += sorted(tables.merged_numbers(folder, study) - ended)
        if unknown:
            raise SteppeError(
                f"{folder.path(JOURNAL)} is older than the tables: {study}.{unknown[0]} has ended, "
                "of which it knows nothing; put the newest copy back, or begin a new run in "
                "another folder"
            )


def adopt(
    storage: SweepStorage, folder: RunFolder, records: Iterable[StudyRecord]
) -> list[Unfinished]:
    """Counts the trials of earlier drivers in the records, whose Optuna studies are loaded.

    Returns the trials that are still to be finished. A trial is frozen if that was decided and it
    has its row; while it is trained it has none.
    """
    unfinished = []
    for record in records:
        assert record.optuna is not None
        for trial in record.optuna.get_trials(deepcopy=False):
            if trial.state == TrialState.WAITING:
                continue
            record.asked += 1
            if trial.state.is_finished():
                record.count(trial)
                continue
            name = f"{record.study.id}.{trial.number}"
            row = tables.read_trial(folder, name)
            if row is None:
                unfinished.append(Unfinished(record, trial._trial_id))
            elif row["state"] != FROZEN:
                record.end(storage, trial._trial_id, row)
            elif is_frozen(trial):
                last = Progress.of_row(row)
                unfinished.append(Unfinished(record, trial._trial_id, last, frozen=True))
            else:
                tables.delete_trial(folder, name)
                unfinished.append(Unfinished(record, trial._trial_id))
    return unfinished
