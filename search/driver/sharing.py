"""Sibling studies tell each other of their best settings while they search.

Siblings have the dataset, the model and the algorithm in common, so also the space. Under `seeds`
they have the held-out domain in common too. Under `domains` they may not: such a sibling trains and
validates on the domain that is held out here, so what it proposes was shaped by that domain's
labels, and the results say so (search.results.notes).

What is proposed depends on how far the siblings are, and so on timing. It is queued in the storage,
with the trial that it comes from, so that a resume knows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from search.driver.study_record import StudyRecord

Share = Literal["none", "seeds", "domains"]

# Of an Optuna trial: the sibling's trial that its setting was taken from.
FROM = "from"
# A setting that is worth a try stands in this part of its study's completed trials.
TOP = 1 / 4


def most_shared(budget: int) -> int:
    """Trials that a study gives to its siblings' settings: a fifth, but one at least."""
    return max(budget // 5, 1)


def enough(budget: int) -> int:
    """Completed trials from which on a study's best are worth telling: a quarter, but three."""
    return max(budget // 4, 3)


def offer(record: StudyRecord, records: Iterable[StudyRecord], share: Share) -> None:
    """Queues a setting of a sibling in a study that is about to be asked for a trial.

    Nothing is queued while the study has settings waiting, after it has taken as many as it may,
    and if it has tried all that siblings have to offer. Among offers, the one that is furthest
    above the median of its own study comes first.
    """
    if share == "none" or record.after is not None:
        return
    assert record.optuna is not None
    trials = record.optuna.get_trials(deepcopy=False)
    taken = sum(FROM in trial.user_attrs for trial in trials)
    if taken >= most_shared(record.max_trials) or any(
        t.state == TrialState.WAITING for t in trials
    ):
        return
    tried = [trial.params for trial in trials]
    offers = [
        (lead, sibling.study.id, trial)
        for sibling in records
        if _siblings(record, sibling, share)
        for lead, trial in _best(sibling)
        if trial.params not in tried
    ]
    if offers:
        _, study, trial = max(offers, key=lambda found: found[0])
        origin = f"{study}.{trial.number}"
        record.optuna.enqueue_trial(trial.params, user_attrs={FROM: origin})


def _siblings(one: StudyRecord, other: StudyRecord, share: Share) -> bool:
    here, there = one.study, other.study
    same = ["dataset", "model", "algorithm", *(["held_out"] if share == "seeds" else [])]
    return here != there and all(getattr(here, name) == getattr(there, name) for name in same)


def _best(record: StudyRecord) -> Iterator[tuple[float, FrozenTrial]]:
    """The best completed trials of a study, and how far each is above the study's median."""
    if record.optuna is None or record.ended["completed"] < enough(record.max_trials):
        return
    ended = [t for t in record.optuna.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    middle = median(trial.values[0] for trial in ended)
    ended.sort(key=lambda trial: (trial.values[0], trial.number), reverse=True)
    for trial in ended[: math.ceil(TOP * len(ended))]:
        if trial.values[0] > middle:
            yield trial.values[0] - middle, trial
