"""Settings that a study tries without its sampler: first ones, promoted ones, and siblings'.

All are queued in the storage, where a resume finds them. Siblings are studies that share the
dataset, the model and the algorithm, so also the space. Under `share: seeds` they share the
held-out domain too. Under `share: domains` they may not: such a sibling trains and validates on the
domain that is held out here, so its settings were shaped by that domain's labels, and the results
say so (search.results.notes). What siblings offer depends on how far they are, and so on timing.

With `seed_reduction` the study of a sweep's first seed searches. That of each later seed tries the
best settings of the study before it, which has the same held-out domain: nothing passes between
held-out domains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.driver.study_record import StudyRecord
from search.space.ranges import Value, grid_points
from search.study import samplers
from search.study.study import max_settings, previous_study

# Attribute of an Optuna study: the settings that it tries.
PROMOTED = "promoted"
# Attribute of an Optuna trial: the sibling's trial that its setting was taken from.
FROM = "from"
# Only this part of a study's completed trials is offered to siblings.
TOP = 1 / 4

Share = Literal["none", "seeds", "domains"]


def queue_first(
    record: StudyRecord, study: optuna.Study, earlier: Sequence[Mapping[str, Value]]
) -> None:
    """Queues what a study tries first, as far as it is not queued yet, before its first trial.

    That is what the plan begins with, those of `earlier` runs, and the sweep's. A grid queues all
    of its points, those first, and further ones when it is asked for more trials. The study of a
    later seed queues its promoted settings, or those of the first seed one by one (SeedMeans).
    """
    plan = record.plan
    if record.first is not None:
        return
    if record.previous is not None:
        most = record.max_trials
        _promote(record, study, study.user_attrs.get(PROMOTED, _best(record.previous)[:most]))
        return
    trials = study.get_trials(deepcopy=False)
    begun = any(trial.state != TrialState.WAITING for trial in trials)
    if plan.search.sampler == "grid" and len(trials) < record.max_trials:
        drawn = samplers.shuffled(grid_points(plan.space), samplers.study_seed(plan))
        first = [*plan.begins_with]
        drawn.sort(key=lambda point: first.index(point) if point in first else len(first))
        settings = drawn[: record.max_trials]
    elif begun:
        return  # maybe with what an earlier version of Steppe queued
    else:
        settings = plan.first_settings(earlier)
    for setting in settings:
        study.enqueue_trial(setting, skip_if_exists=True)


class LaterSeeds:
    """Promotes the best settings of each seed's studies to those of the next seed.

    A study that was ended by a budget may continue after later seeds tried what was best until
    then. If it finds better settings, these are tried with the later seeds too.

    records: in the order of the seeds. factor: search.seed_reduction, None for no promotion.
    on_nothing: called for each study that has no setting to try, and so has ended.
    """

    def __init__(
        self,
        records: Mapping[str, StudyRecord],
        factor: int | None,
        on_nothing: Callable[[StudyRecord], None],
    ) -> None:
        self._on_nothing = on_nothing
        self._most: dict[str, int] = {}
        self._waiting: list[tuple[StudyRecord, StudyRecord]] = []
        seeds = [*dict.fromkeys(record.study.seed for record in records.values())]
        for record in records.values() if factor is not None else ():
            previous = previous_study(record.study, seeds)
            if previous is not None:
                record.previous = records[previous.id]
                place = seeds.index(record.study.seed)
                record.max_trials = max_settings(record.max_trials, factor, place)
                self._most[record.study.id] = record.max_trials
                self._waiting.append((record, record.previous))

    def promote(self) -> None:
        """Gives each study whose predecessors have ended the settings that it is to try."""
        for record, previous in list(self._waiting):
            if not record.ready:
                continue
            best = _best(previous)[: self._most[record.study.id]]
            if record.optuna is not None:
                if record.closed:
                    continue
                self._waiting.remove((record, previous))
                begun = record.optuna.user_attrs[PROMOTED]
                _promote(record, record.optuna, settings_to_try(begun, best))
                continue
            record.max_trials = len(best)
            # A closed study, and the one before it, may be opened again.
            if not record.max_trials and not record.closed:
                self._waiting.remove((record, previous))
                self._on_nothing(record)


def _promote(record: StudyRecord, study: optuna.Study, settings: list[dict[str, Value]]) -> None:
    if study.user_attrs.get(PROMOTED) != settings:
        study.set_user_attr(PROMOTED, settings)
    record.max_trials = len(settings)
    for setting in settings:
        study.enqueue_trial(setting, skip_if_exists=True)


def settings_to_try(
    begun: Sequence[dict[str, Value]], promoted: Sequence[dict[str, Value]]
) -> list[dict[str, Value]]:
    """The settings that a study began with, then the promoted ones that are new to it."""
    return [*begun, *(setting for setting in promoted if setting not in begun)]


def promoted(trials: Iterable[FrozenTrial]) -> list[dict[str, Value]]:
    """The best settings among completed trials, best first, each once.

    Settings of pruned, diverged and failed trials are left out.
    """
    settings: list[dict[str, Value]] = []
    for trial in _completed(trials):
        if trial.params not in settings:
            settings.append(dict(trial.params))
    return settings


def _completed(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The completed trials, best first; of equals, the later is first, as in selection."""
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(ended, key=lambda trial: (trial.values[0], trial.number), reverse=True)


def _best(record: StudyRecord) -> list[dict[str, Value]]:
    return promoted(record.optuna.get_trials(deepcopy=False) if record.optuna else [])


def max_shared(trials: int) -> int:
    """Trials that a study gives to siblings' settings: a fifth of its trials, but at least one."""
    return max(trials // 5, 1)


def min_completed(trials: int) -> int:
    """Completed trials before a study offers settings: a quarter of its trials, but at least 3."""
    return max(trials // 4, 3)


def queue_shared(record: StudyRecord, records: Iterable[StudyRecord], share: Share) -> None:
    """Queues a sibling's setting in a study that is about to be asked for a trial.

    Nothing is queued while other settings wait, after the study has taken `max_shared`, or if it
    has tried everything that siblings offer. Of several offers, the one furthest above the median
    of its own study is taken.
    """
    if share == "none" or record.previous is not None:
        return
    assert record.optuna is not None
    trials = record.optuna.get_trials(deepcopy=False)
    taken = sum(FROM in trial.user_attrs for trial in trials)
    if taken >= max_shared(record.max_trials) or any(t.state == TrialState.WAITING for t in trials):
        return
    tried = [trial.params for trial in trials]
    offers = [
        (lead, sibling.study.id, trial)
        for sibling in records
        if _are_siblings(record, sibling, share)
        for lead, trial in _offers(sibling)
        if trial.params not in tried
    ]
    if offers:
        _, study, trial = max(offers, key=lambda offer: offer[0])
        origin = f"{study}.{trial.number}"
        record.optuna.enqueue_trial(trial.params, user_attrs={FROM: origin})


def _are_siblings(one: StudyRecord, other: StudyRecord, share: Share) -> bool:
    here, there = one.study, other.study
    same = ["dataset", "model", "algorithm", *(["held_out"] if share == "seeds" else [])]
    return here != there and all(getattr(here, name) == getattr(there, name) for name in same)


def _offers(record: StudyRecord) -> Iterator[tuple[float, FrozenTrial]]:
    """The best completed trials of a study, and how far each is above the study's median."""
    if record.optuna is None or record.ended["completed"] < min_completed(record.max_trials):
        return
    ended = _completed(record.optuna.get_trials(deepcopy=False))
    middle = median(trial.values[0] for trial in ended)
    for trial in ended[: math.ceil(TOP * len(ended))]:
        if trial.values[0] > middle:
            yield trial.values[0] - middle, trial
