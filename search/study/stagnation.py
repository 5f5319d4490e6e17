"""The terminator `stagnation`: when a study has stopped improving."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from optuna.trial import FrozenTrial

from search.study import samplers
from search.study.trial_attributes import state_of
from search.sweep.search_keys import Search


def grace_trials(search: Search) -> int:
    """Trials at the start that cannot stagnate: those before the sampler learns, if it does."""
    return 0 if search.sampler in samplers.UNGUIDED else samplers.startup_trials(search.trials)


def patience(search: Search) -> int:
    """Trials without a better one after which a study stagnates; by default half of its trials."""
    return search.patience or math.ceil(search.trials / 2)


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
