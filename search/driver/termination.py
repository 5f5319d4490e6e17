"""Stops studies whose sampler no longer improves, and gives their unused trials to others.

Each stop is recorded in the Optuna study. The number of trials of each study is computed from all
stops, so a resumed sweep comes to the same numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from typing import Any

from optuna.trial import FrozenTrial

from search.driver.study_record import StudyRecord, state_of
from search.space.ranges import different_settings
from search.study.samplers import grace_trials, patience
from search.sweep.search_keys import Search

STOPPED = "stopped"  # attribute of an Optuna study: its StudyStop


@dataclass(frozen=True)
class StudyStop:
    """The stop of a study. order: place among the sweep's stops. trials: begun until then.

    patience: of the sweep then; None in runs of earlier commits.
    """

    order: int
    study: str
    trials: int
    patience: int | None = None


class Terminator:
    """Stops studies, if the sweep asks for it, and sets `max_trials` of all records."""

    def __init__(self, search: Search, records: Mapping[str, StudyRecord]) -> None:
        self._search = search
        self._records = records
        self._shares = Shares(
            {study: record.max_trials for study, record in records.items()},
            {study: different_settings(record.plan.space) for study, record in records.items()},
        )
        self._stopped = 0  # the place of the next stop
        self._looked: dict[str, int] = {}  # study -> ended trials at the last look

    def recall(self) -> None:
        """Applies the stops of earlier drivers.

        A sweep that was asked for more trials since then may have more patience, and would not have
        stopped a study then: its stop is forgotten.
        """
        begun = {
            name: record.optuna
            for name, record in self._records.items()
            if record.optuna is not None
        }
        for stop in stops(study.user_attrs for study in begun.values()):
            if stop.patience is not None and stop.patience < patience(self._search):
                begun[stop.study].set_user_attr(STOPPED, None)
            else:
                self._count(stop)

    def stops(self, record: StudyRecord, settled: Sequence[int] = ()) -> bool:
        """Stops a study that no longer improves; True if it is not to have another trial.

        settled: numbers of frozen trials that cannot win, which count as ended.
        """
        ended = record.ended.total() + len(settled)
        if self._search.terminator == "none" or record.optuna is None:
            return False
        if ended == self._looked.get(record.study.id):
            return False
        self._looked[record.study.id] = ended
        trials = record.optuna.get_trials(deepcopy=False)
        waited = patience(self._search)
        if trials_without_gain(trials, grace_trials(self._search), settled) < waited:
            return False
        stop = StudyStop(self._stopped, record.study.id, record.asked, waited)
        record.optuna.set_user_attr(STOPPED, asdict(stop))
        self._count(stop)
        return True

    def _count(self, stop: StudyStop) -> None:
        self._stopped = stop.order + 1
        self._shares.stop(stop)
        for study, trials in self._shares.trials.items():
            record = self._records[study]
            # Studies that a run had not when a study stopped get a part of what others got then.
            record.max_trials = max(trials, record.asked)


class Shares:
    """How many trials each study may have; their sum stays the same when studies stop.

    own: trials of each study at the beginning. most: how many it can use at most, None for no
    limit. The unused trials of a stopped study go, one by one, to the running study that was given
    the fewest so far; among equals, to the first in the sweep. Trials that no study can use are
    dropped.
    """

    def __init__(self, own: Mapping[str, int], most: Mapping[str, int | None]) -> None:
        self.trials = dict(own)
        self._most = most
        self._going = set(own)
        # A heap of (trials given, place in the sweep, study). A study that is full stays full.
        self._takers = [(0, place, study) for place, study in enumerate(own)]

    def stop(self, stop: StudyStop) -> None:
        """Ends a study and hands its unused trials on."""
        self._going.remove(stop.study)
        left, self.trials[stop.study] = self.trials[stop.study] - stop.trials, stop.trials
        while left > 0 and self._takers:
            given, place, study = heappop(self._takers)
            most = self._most[study]
            if study in self._going and (most is None or self.trials[study] < most):
                self.trials[study] += 1
                left -= 1
                heappush(self._takers, (given + 1, place, study))


def trials_without_gain(
    trials: Iterable[FrozenTrial], grace: int, settled: Collection[int] = ()
) -> int:
    """How many trials of a study ended after the last better one and after the first `grace`.

    A trial is better if no earlier one equals or exceeds it in every objective. Failed trials are
    not counted. settled: numbers of running trials that count as ended without a value.
    """
    front: list[list[float]] = []
    after, ended = grace - 1, []
    for trial in sorted(trials, key=lambda trial: trial.number):
        state = "frozen" if trial.number in settled else state_of(trial)
        if state is None or state == "failed":
            continue
        ended.append(trial.number)
        values = trial.values if state == "completed" else None
        if values and not any(_covers(other, values) for other in front):
            front.append(values)
            after = max(after, trial.number)
    return sum(number > after for number in ended)


def _covers(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True))


def stops(attributes: Iterable[Mapping[str, Any]]) -> list[StudyStop]:
    """The stops in the attributes of Optuna studies, in their order."""
    found = [StudyStop(**own[STOPPED]) for own in attributes if own.get(STOPPED)]
    return sorted(found, key=lambda stop: stop.order)


def shares(
    own: Mapping[str, int], most: Mapping[str, int | None], stops: Sequence[StudyStop]
) -> dict[str, int]:
    """How many trials each study may have after these stops (see Shares)."""
    found = Shares(own, most)
    for stop in stops:
        found.stop(stop)
    return found.trials
