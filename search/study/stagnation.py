"""When a study has stopped improving."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial

from search.study import samplers
from search.study.trial_attributes import state_of
from search.sweep.search_keys import Search

# What these suggest does not depend on what was seen.
UNGUIDED = ("random", "qmc", "grid")


def startup(search: Search) -> int:
    """Trials of a study before a better one is waited for: a quarter, if its sampler learns."""
    return 0 if search.sampler in UNGUIDED else samplers.startup(search.trials)


def patience(search: Search) -> int:
    """Trials without a better one after which a study stagnates: else half of its trials."""
    return search.patience or math.ceil(search.trials / 2)


def without_gain(trials: Iterable[FrozenTrial], startup: int) -> int:
    """Trials of a study that ended after the last that was better, and after the first `startup`.

    Better is what no earlier trial equals or exceeds in every objective. A trial that failed says
    nothing and is not counted.
    """
    front: list[list[float]] = []
    after, ended = startup - 1, []
    for trial in sorted(trials, key=lambda trial: trial.number):
        state = state_of(trial)
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
