"""A study whose sampler has stopped improving is stopped; others get the trials it did not use.

A stop is a decision, and is recorded in the Optuna study; what follows from it is computed anew
from all stops, so that a resumed sweep goes on with the same shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from typing import Any

from search.driver.study_record import StudyRecord
from search.space.ranges import different_settings
from search.study.stagnation import patience, startup_trials, trials_without_gain
from search.sweep.search_keys import Search

STOPPED = "stopped"  # attribute of an Optuna study: see Stop


@dataclass(frozen=True)
class Stop:
    """The stop of a study, the `order`-th of the sweep, when it had asked for so many trials."""

    order: int
    study: str
    trials: int


class Terminator:
    """Stops studies, if the sweep asks for it; keeps account of who may have how many trials."""

    def __init__(self, search: Search, records: Mapping[str, StudyRecord]) -> None:
        self._search = search
        self._records = records
        self._shares = Shares(
            {study: record.max_trials for study, record in records.items()},
            {study: different_settings(record.plan.space) for study, record in records.items()},
        )
        self._stopped = 0
        self._looked: dict[str, int] = {}  # ended trials when a study was last looked at

    def recall(self) -> None:
        """Takes over what was decided before."""
        begun = [record.optuna for record in self._records.values() if record.optuna is not None]
        for stop in stops(study.user_attrs for study in begun):
            self._count(stop)

    def stops(self, record: StudyRecord) -> bool:
        """Whether the study is not to be asked for another trial: stops it if so."""
        ended = record.ended.total()
        if self._search.terminator == "none" or record.optuna is None:
            return False
        if ended == self._looked.get(record.study.id):
            return False
        self._looked[record.study.id] = ended
        trials = record.optuna.get_trials(deepcopy=False)
        if trials_without_gain(trials, startup_trials(self._search)) < patience(self._search):
            return False
        stop = Stop(self._stopped, record.study.id, record.asked)
        record.optuna.set_user_attr(STOPPED, asdict(stop))
        self._count(stop)
        return True

    def _count(self, stop: Stop) -> None:
        self._stopped += 1
        self._shares.stop(stop)
        for study, trials in self._shares.trials.items():
            self._records[study].max_trials = trials


class Shares:
    """How many trials each study may have, all together as many as before, whoever stops.

    What a stopped study leaves goes, one by one, to the going one that was given the fewest, the
    first in the sweep of equals, up to as many as it can have; what nobody can have is left.
    """

    def __init__(self, own: Mapping[str, int], most: Mapping[str, int | None]) -> None:
        self.trials = dict(own)
        self._most = most
        self._going = set(own)
        # A heap of (trials given, place in the sweep, study). Who cannot have more never can again.
        self._takers = [(0, place, study) for place, study in enumerate(own)]

    def stop(self, stop: Stop) -> None:
        """The study has its trials so far and no more."""
        self._going.remove(stop.study)
        left, self.trials[stop.study] = self.trials[stop.study] - stop.trials, stop.trials
        while left and self._takers:
            given, place, study = heappop(self._takers)
            most = self._most[study]
            if study in self._going and (most is None or self.trials[study] < most):
                self.trials[study] += 1
                left -= 1
                heappush(self._takers, (given + 1, place, study))


def stops(attributes: Iterable[Mapping[str, Any]]) -> list[Stop]:
    """The stops that the attributes of Optuna studies record, in their order."""
    found = [Stop(**own[STOPPED]) for own in attributes if STOPPED in own]
    return sorted(found, key=lambda stop: stop.order)


def shares(
    own: Mapping[str, int], most: Mapping[str, int | None], stops: Sequence[Stop]
) -> dict[str, int]:
    """How many trials each study may have after these stops: see Shares."""
    found = Shares(own, most)
    for stop in stops:
        found.stop(stop)
    return found.trials
