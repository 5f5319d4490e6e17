"""Searches for the best mean over seeds: ties the studies of the seeds by trial number.

The first seed's study suggests settings. Trial n of each other seed has the setting of its trial n.
It waits in the Optuna study until trial n of the seed before has completed, and is trained if the
setting's mean may still be the best. What waits when no mean can win any more ends untrained.
Everything is decided from the journal.

Splits and networks differ from seed to seed, and some of that is the same for all settings. What a
seed adds to the settings that have it is therefore taken off before means are compared, so that no
setting leads because it has only the easy seeds. What remains is the spread of a setting between
seeds. A mean over k of K seeds then ends within spread * sqrt((K - k) / (K k)), one standard
deviation, of where it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from search.driver.study_record import UNTRAINED, StudyRecord
from search.study.study import previous_study

OPTIMISM = 2.0  # standard deviations
SPREAD = 0.02  # of accuracy between the seeds of a setting, before the search has its own
PRIOR = 3.0  # degrees of freedom that this counts for

Values = Mapping[int, Sequence[float]]  # setting -> its values with the first seeds, in their order
Group = Sequence[StudyRecord]  # those of all seeds, in their order


@dataclass
class Standings:
    """The settings of a group that have completed with the first seed, or more seeds.

    values: theirs. lost: those that a later seed did not complete.
    at_work: those that train with a later seed. begun: trials of each seed that have begun or
    ended. ended: why settings were ended untrained, by number.
    """

    values: dict[int, list[float]] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    at_work: set[int] = field(default_factory=set)
    begun: list[set[int]] = field(default_factory=list)
    ended: dict[int, str] = field(default_factory=dict)

    @property
    def waiting(self) -> list[int]:
        """The settings that may go on with another seed."""
        seeds = len(self.begun)
        able = self.values.keys() - self.lost - self.at_work - self.ended.keys()
        return [number for number in able if len(self.values[number]) < seeds]

    @property
    def best(self) -> float:
        """The best mean over all seeds, -inf without any."""
        mean, seeds = means(self.values), len(self.begun)
        return max(
            (mean[n] for n, own in self.values.items() if len(own) == seeds), default=-math.inf
        )

    def promising(self) -> int | None:
        """Of the waiting settings whose mean may be the best, the one with the highest."""
        end, best = optimistic_means(self.values, len(self.begun)), self.best
        able = [number for number in self.waiting if end[number] >= best]
        return max(able, key=lambda n: (end[n], -n), default=None)


class SeedMeans:
    """What `search.objective_over: seeds` says of each study; of other sweeps', nothing."""

    def __init__(self, records: Mapping[str, StudyRecord]) -> None:
        self._groups: dict[str, list[StudyRecord]] = {}  # by the id of the first seed's study
        self._of: dict[str, str] = {}
        self._known: dict[str, Standings] = {}
        seeds = [*dict.fromkeys(record.study.seed for record in records.values())]
        for name, record in records.items():
            if record.plan.search.objective_over != "seeds":
                continue
            before = previous_study(record.study, seeds)
            first = name if before is None else self._of[before.id]
            self._of[name] = first
            self._groups.setdefault(first, []).append(record)
            record.first = None if before is None else records[first]

    def applies(self, record: StudyRecord) -> bool:
        """Whether the study is one of several over whose seeds settings are compared."""
        return bool(self._of) and record.study.id in self._of

    def changed(self, record: StudyRecord) -> None:
        """Says that a trial of the study has begun or ended."""
        self._known.pop(self._of.get(record.study.id, ""), None)

    def waits(self, record: StudyRecord) -> bool:
        """Whether the next trial of its group, if there is one, is of this study."""
        return self._next(self._of[record.study.id])[0] is record

    def number(self, record: StudyRecord) -> int:
        """The number of the trial that a later seed's study, which waits, is to begin."""
        number = self._next(self._of[record.study.id])[1]
        assert number is not None
        return number

    def told(self, record: StudyRecord) -> tuple[list[int], dict[int, float]]:
        """What the sampler is told: trials that it takes for pruned, and the means of others."""
        if not self.applies(record):
            return [], {}
        now = self._standings(self._of[record.study.id])
        return [*now.lost], means(now.values)

    def untrained(self) -> list[tuple[StudyRecord, int, str]]:
        """The trials that end untrained, as nothing is left to train in their group, and why."""
        found = []
        for name, group in self._groups.items():
            first = group[0]
            if first.closed or not first.full or any(record.running for record in group):
                continue
            now = self._standings(name)
            if now.at_work or not first.done or self._next(name)[0] is not None:
                continue
            numbers = range(first.asked)
            found += [
                (record, number, self._why(group, now, number))
                for number in numbers
                for record, begun in zip(group, now.begun, strict=True)
                if number not in begun
            ]
        return found

    def _why(self, group: Group, now: Standings, number: int) -> str:
        if number in now.ended:
            return now.ended[number]
        seed = group[max(len(now.values.get(number, ())) - 1, 0)].study.seed
        if number in now.lost or number not in now.values:
            last = next(
                r.study.seed
                for r, b in zip(group[::-1], now.begun[::-1], strict=True)
                if number in b
            )
            return f"search.objective_over: not completed with seed {last}"
        return f"search.objective_over: its mean could not win after seed {seed}"

    def _next(self, name: str) -> tuple[StudyRecord | None, int | None]:
        """The study of a group that a free worker is to train, and which trial; None for a new one.

        The first setting is trained with all seeds before another begins: a mean to beat. Then new
        settings come first while they are drawn at random; a sampler that learns is asked again
        when no waiting setting can win.
        """
        group, now = self._groups[name], self._standings(name)
        first = group[0]
        if first.closed:
            return None, None
        number = now.promising()
        none_yet = now.best == -math.inf and not now.at_work
        if number is not None and (none_yet or not first.draws_next):
            return group[len(now.values[number])], number
        return (first, None) if first.open else (None, None)

    def _standings(self, name: str) -> Standings:
        if name not in self._known:
            self._known[name] = _standings(self._groups[name])
        return self._known[name]


def _standings(group: Group) -> Standings:
    now = Standings()
    for place, record in enumerate(group):
        trials = record.optuna.get_trials(deepcopy=False) if record.optuna is not None else []
        begun = [trial for trial in trials if trial.state != TrialState.WAITING]
        now.begun.append({trial.number for trial in begun})
        for trial in begun:
            _add(now, trial, place)
    return now


def _add(now: Standings, trial: FrozenTrial, place: int) -> None:
    if trial.state == TrialState.COMPLETE:
        now.values.setdefault(trial.number, []).append(trial.values[0])
    elif place and trial.state == TrialState.RUNNING:
        now.at_work.add(trial.number)
    elif place and trial.user_attrs.get(UNTRAINED):
        now.ended[trial.number] = trial.user_attrs[UNTRAINED]
    elif place:
        now.lost.add(trial.number)


def means(values: Values) -> dict[int, float]:
    """The mean of each setting over the seeds that it has, without what these seeds add to all.

    Settings with the same seeds keep their order.
    """
    added = _added(values)
    return {n: float(np.mean(np.subtract(own, added[: len(own)]))) for n, own in values.items()}


def optimistic_means(values: Values, seeds: int) -> dict[int, float]:
    """What the mean of each setting over all seeds may come to; of one that has all, its mean."""
    added, mean = _added(values), means(values)
    squares, known = PRIOR * SPREAD**2, PRIOR - (len(added) - 1)
    for number, own in values.items():
        squares += float(np.square(np.subtract(own, added[: len(own)]) - mean[number]).sum())
        known += len(own) - 1
    deviation = math.sqrt(squares / known)
    return {
        n: mean[n] + OPTIMISM * deviation * math.sqrt((seeds - len(own)) / (seeds * len(own)))
        for n, own in values.items()
    }


def _added(values: Values) -> list[float]:
    """What each seed adds to a setting, compared with the first: the mean over those that have it.

    For the settings with a seed, all earlier seeds are known too.
    """
    most = max(map(len, values.values()), default=0)
    return [
        float(np.mean([own[seed] - own[0] for own in values.values() if len(own) > seed]))
        for seed in range(most)
    ]
