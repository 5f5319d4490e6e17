"""Pruners, which stop losing trials early, by the names of a sweep file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from statistics import stdev

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

IMAGES = "images"  # attribute of a trial: how many its reports are measured on
STANDARD_DEVIATIONS = 2.0
ENOUGH = 3  # completed trials that say how much trials still gain
UNTIL_THEN = 0.05  # of accuracy

# Of earlier commits.
STANDARD_ERRORS = 2.0

Trials = list[FrozenTrial]
Rung = tuple[int, float]  # the step at which it begins, and before which a trial's report must come


def build(
    name: str,
    steps: int,
    grace_steps: int,
    reduction_factor: int,
    folds: bool = False,
    as_before: bool = False,
) -> BasePruner:
    """The pruner of this name. It keeps no state but what is in the storage.

    steps: training steps of a whole trial, the unit in which trials report. grace_steps: no trial
    is stopped before. folds: whether they are the steps of folds, each as long as the grace.
    as_before: whether asha decides as in runs of earlier commits. Raises KeyError for an unknown
    name.
    """
    asha = RungPruner
    if as_before:
        asha, folds = NoisePruner, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return {
            "asha": lambda: asha(steps, grace_steps, reduction_factor, folds),
            "hyperband": lambda: HyperbandPruner(
                min_resource=grace_steps, max_resource=steps, reduction_factor=reduction_factor
            ),
            "median": lambda: MedianPruner(n_startup_trials=4, n_warmup_steps=grace_steps - 1),
            # Decides elsewhere (search.driver.freezing), as it stops nothing for good.
            "freeze-thaw": NopPruner,
            "none": NopPruner,
        }[name]()


def default_grace(steps: int, evaluate_every: int, reduction_factor: int) -> int:
    """Steps to the first of three rungs, in whole evaluations; the last is at 2/3 of a trial."""
    evaluations = math.ceil(2 / 3 * steps / reduction_factor**2 / evaluate_every)
    return min(evaluations * evaluate_every, steps)


class RungPruner(BasePruner):
    """Asynchronous successive halving that leaves room for what trials still gain.

    Rungs are at grace, grace * factor, grace * factor^2, ... steps, or after each fold; a trial is
    at a rung with its first report from there on, if that comes before the next rung. It is stopped
    if it is behind the best 1/factor of the trials at this rung by more than twice the standard
    deviation of what the study's completed trials gained between this rung and their end: trials
    whose gains differ overtake each other. Until three have completed, the margin is 0.05. With
    fewer than 2 * factor trials at a rung, the best 1/factor is the best trial.

    ASHA is by Li et al. 2020, arXiv 1810.05934. The margin is our own
    (benchmarks/rung_margins.py). All trials of a study are validated on the same images, so the
    number of images does not say which trials may still overtake.
    """

    def __init__(self, steps: int, grace_steps: int, factor: int, folds: bool = False) -> None:
        self._factor = factor
        self._rungs: list[Rung] = []
        rung = grace_steps
        while rung < steps:
            after = rung + grace_steps if folds else rung * factor
            self._rungs.append((rung, after))
            rung = after

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

    def _behind(self, trial: FrozenTrial, trials: Trials, rung: Rung) -> bool:
        there = sorted(_values_at(rung, trials), reverse=True)
        cut = there[max(len(there) // self._factor, 1) - 1]
        return _newest(trial) < cut - self._margin(trial, cut, trials, rung)

    def _margin(self, trial: FrozenTrial, cut: float, trials: Trials, rung: Rung) -> float:
        completed = [other for other in trials if other.state == TrialState.COMPLETE]
        gains = [
            _newest(other) - at_rung for other in completed for at_rung in _values_at(rung, [other])
        ]
        return STANDARD_DEVIATIONS * stdev(gains) if len(gains) >= ENOUGH else UNTIL_THEN


class NoisePruner(RungPruner):
    """The asha of earlier commits, for their runs: its margin is the noise of validation.

    That is two standard errors of the difference of two accuracies, each measured on the trial's
    IMAGES; without IMAGES there is none. A report counts at all rungs that it has passed.
    """

    def __init__(self, steps: int, grace_steps: int, factor: int, folds: bool = False) -> None:
        super().__init__(steps, grace_steps, factor, folds)
        self._rungs = [(begin, math.inf) for begin, _ in self._rungs]

    def _margin(self, trial: FrozenTrial, cut: float, trials: Trials, rung: Rung) -> float:
        images, value = trial.user_attrs.get(IMAGES), _newest(trial)
        noise = math.sqrt((_variance(value) + _variance(cut)) / images) if images else 0.0
        return STANDARD_ERRORS * noise


def _newest(trial: FrozenTrial) -> float:
    """The value that a trial reported last."""
    return trial.intermediate_values[max(trial.intermediate_values)]


def _values_at(rung: Rung, trials: Iterable[FrozenTrial]) -> list[float]:
    """The values of those trials that are at the rung."""
    steps = ((trial, _reached(trial, rung)) for trial in trials)
    return [trial.intermediate_values[step] for trial, step in steps if step is not None]


def _reached(trial: FrozenTrial, rung: Rung) -> int | None:
    """The step at which a trial is at a rung; None for one that has not come, or jumped over it."""
    begin, end = rung
    step = min((step for step in trial.intermediate_values if step >= begin), default=None)
    return step if step is not None and step < end else None


def _variance(accuracy: float) -> float:
    """Of the correctness of one image."""
    return accuracy * (1 - accuracy)
