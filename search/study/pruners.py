"""What stops trials early, by the names of a sweep file."""

from __future__ import annotations

import math
import warnings

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
)

from search.study.rung_pruner import RungPruner


def build(name: str, steps: int, grace_steps: int, reduction_factor: int) -> BasePruner:
    """What decides whether a trial goes on. All that it remembers is in the storage.

    steps: training steps of a whole trial, the unit in which trials report. grace_steps: none is
    stopped before. Raises KeyError for an unknown name.
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
    """Three rungs, the last at two thirds of the way, each rounded up to an evaluation."""
    evaluations = math.ceil(2 / 3 * steps / reduction_factor**2 / evaluate_every)
    return min(evaluations * evaluate_every, steps)
