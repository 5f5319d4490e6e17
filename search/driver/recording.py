"""Records how trials ended in the Optuna storage.

A trial's row is written into the tables first, and its end is then recorded in the storage. When a
driver opens the storage, it records the ends that have only a row; other trials are still to be
finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from search.driver.study_record import StudyRecord
from search.run import tables
from search.run.columns import FROZEN
from search.run.run_folder import RunFolder
from search.run.storage import SweepStorage
from search.study.trial_attributes import REASON, STATE, is_frozen, state_of
from search.worker.trial_rows import values_of


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    state: completed, pruned, diverged or failed. reason: why it is not completed. values: of the
    objectives. seconds, passes: what it cost.
    """

    state: str
    reason: str | None
    values: tuple[float, ...] = ()
    seconds: float | None = None
    passes: float | None = None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Outcome:
        """The outcome in a row of `trials`."""
        cost = row.get("seconds"), row.get("passes")
        return cls(row["state"], row["reason"], values_of(row), *cost)


def read_outcome(folder: RunFolder, trial: str) -> Outcome | None:
    """The outcome of a trial that has written its row; None if it has not ended."""
    row = tables.read_trial(folder, trial)
    return None if row is None or row["state"] == FROZEN else Outcome.of_row(row)


def record_outcome(
    storage: SweepStorage, record: StudyRecord, trial_id: int, number: int, outcome: Outcome
) -> None:
    """Tells Optuna how a trial ended, and counts it in the study's record."""
    assert record.optuna is not None
    storage.set_trial_user_attr(trial_id, STATE, outcome.state)
    if outcome.reason:
        storage.set_trial_user_attr(trial_id, REASON, outcome.reason)
    if outcome.state == "completed":
        record.optuna.tell(number, outcome.values)
    else:
        # Samplers rank a pruned trial behind completed ones, which is the right place for a setting
        # that diverged: if it were reported as failed, they would suggest it again.
        ended = TrialState.FAIL if outcome.state == "failed" else TrialState.PRUNED
        record.optuna.tell(number, state=ended)
    record.count(storage.get_trial(trial_id), outcome.state, outcome.values)


@dataclass(frozen=True)
class Unfinished:
    """A trial that an earlier driver left. frozen: its row, if it waits."""

    record: StudyRecord
    trial_id: int
    frozen: Mapping[str, Any] | None = None


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
            state = state_of(trial)
            if state is not None:
                record.count(trial, state, trial.values or ())
                continue
            name = f"{record.study.id}.{trial.number}"
            row = tables.read_trial(folder, name)
            if row is None:
                unfinished.append(Unfinished(record, trial._trial_id))
            elif row["state"] != FROZEN:
                outcome = Outcome.of_row(row)
                record_outcome(storage, record, trial._trial_id, trial.number, outcome)
            elif is_frozen(trial):
                unfinished.append(Unfinished(record, trial._trial_id, row))
            else:
                tables.delete_trial(folder, name)
                unfinished.append(Unfinished(record, trial._trial_id))
    return unfinished
