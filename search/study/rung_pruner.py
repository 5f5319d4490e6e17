"""Asynchronous successive halving that lets chance decide nothing."""

from __future__ import annotations

import math

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from search.study.trial_attributes import IMAGES

STANDARD_ERRORS = 2.0


class RungPruner(BasePruner):
    """Stops a trial that comes to a rung clearly behind the best 1/factor of those that did.

    Rungs are at grace, grace * factor, grace * factor^2, ... steps, below `steps`; a trial is at
    one with its first report there or after. Clearly: by more than two standard errors of the
    difference of two accuracies, each measured on the trial's IMAGES; without these, by anything.
    Until there are 2 * factor trials at a rung, the best 1/factor is the best one.

    ASHA is by Li et al. 2020, arXiv 1810.05934. The standard error is this one's own: validation
    is measured on few hundred images, and a rung that goes by less than its noise stops winners
    (benchmarks/search_efficiency.py).
    """

    def __init__(self, steps: int, grace_steps: int, factor: int) -> None:
        self._factor = factor
        self._rungs = []
        while grace_steps < steps:
            self._rungs.append(grace_steps)
            grace_steps *= factor

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step is None or not any(_reached(trial, rung) == step for rung in self._rungs):
            return False
        trials = study.get_trials(deepcopy=False)
        own = trials[trial.number]  # with all its reports, also where `trial` has but the newest
        return any(
            self._behind(own, trials, rung) for rung in self._rungs if _reached(own, rung) == step
        )

    def _behind(self, trial: FrozenTrial, trials: list[FrozenTrial], rung: int) -> bool:
        there = [
            other.intermediate_values[step]
            for other in trials
            if (step := _reached(other, rung)) is not None
        ]
        there.sort(reverse=True)
        cut = there[max(len(there) // self._factor, 1) - 1]
        value = trial.intermediate_values[max(trial.intermediate_values)]
        images = trial.user_attrs.get(IMAGES)
        noise = math.sqrt((_variance(value) + _variance(cut)) / images) if images else 0.0
        return value < cut - STANDARD_ERRORS * noise


def _reached(trial: FrozenTrial, rung: int) -> int | None:
    """The step at which a trial came to a rung."""
    return min((step for step in trial.intermediate_values if step >= rung), default=None)


def _variance(accuracy: float) -> float:
    """Of one image's being right or wrong."""
    return accuracy * (1 - accuracy)
