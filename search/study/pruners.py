"""Pruners, which stop losing trials early, by the names of a sweep file."""

from __future__ import annotations

import math
import warnings

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial

from search.study.trial_attributes import IMAGES

STANDARD_ERRORS = 2.0


def build(name: str, steps: int, grace_steps: int, reduction_factor: int) -> BasePruner:
    """The pruner of this name. It keeps no state but what is in the storage.

    steps: training steps of a whole trial, the unit in which trials report. grace_steps: no trial
    is stopped before. Raises KeyError for an unknown name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return {
            "asha": lambda: RungPruner(steps, grace_steps, reduction_factor),
            "hyperband": lambda: HyperbandPruner(
                min_resource=grace_steps, max_resource=steps, reduction_factor=reduction_factor
            ),
            "median": lambda: MedianPruner(n_startup_trials=4, n_warmup_steps=grace_steps - 1),
            "none": NopPruner,
        }[name]()


def default_grace(steps: int, evaluate_every: int, reduction_factor: int) -> int:
    """Steps to the first of three rungs, in whole evaluations; the last is at 2/3 of a trial."""
    evaluations = math.ceil(2 / 3 * steps / reduction_factor**2 / evaluate_every)
    return min(evaluations * evaluate_every, steps)


class RungPruner(BasePruner):
    """Asynchronous successive halving that does not stop a trial for differences within the noise.

    A trial that reaches a rung is stopped if it is behind the best 1/factor of the trials at this
    rung by more than two standard errors of the difference of two accuracies, each measured on the
    trial's IMAGES; by any difference without IMAGES. Rungs are at grace, grace * factor,
    grace * factor^2, ... steps, below `steps`; a trial reaches one with its first report there or
    later. With fewer than 2 * factor trials at a rung, the best 1/factor is the best trial.

    ASHA is by Li et al. 2020, arXiv 1810.05934. The standard error is our own: validation is
    measured on a few hundred images, and a rung that ignores this noise stops winners
    (benchmarks/search_efficiency.py).
    """

    def __init__(self, steps: int, grace_steps: int, factor: int) -> None:
        self._factor = factor
        self._rungs = []
        while grace_steps < steps:
            self._rungs.append(grace_steps)
            grace_steps *= factor

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial's newest report stops it."""
        step = trial.last_step
        if step is None or not any(_reached(trial, rung) == step for rung in self._rungs):
            return False
        trials = study.get_trials(deepcopy=False)
        own = trials[trial.number]  # with all its reports; `trial` may have only the newest
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
    """The step at which a trial reached a rung."""
    return min((step for step in trial.intermediate_values if step >= rung), default=None)


def _variance(accuracy: float) -> float:
    """Of the correctness of one image."""
    return accuracy * (1 - accuracy)
