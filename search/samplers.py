"""Optuna's samplers by the names of a sweep file."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

T = TypeVar("T")


# (seed of this suggestion, seed of the study, random trials before the model is used) -> sampler
SAMPLERS: dict[str, Callable[[int, int, int], BaseSampler]] = {
    "tpe": lambda seed, study_seed, startup: TPESampler(seed=seed, n_startup_trials=startup),
    "gp": lambda seed, study_seed, startup: GPSampler(seed=seed, n_startup_trials=startup),
    "cmaes": lambda seed, study_seed, startup: CmaEsSampler(
        seed=seed, n_startup_trials=startup, warn_independent_sampling=False
    ),
    "random": lambda seed, study_seed, startup: RandomSampler(seed=seed),
    # A sequence is one sequence only under one seed.
    "qmc": lambda seed, study_seed, startup: QMCSampler(
        seed=study_seed,
        scramble=True,
        independent_sampler=RandomSampler(seed=seed),
        warn_independent_sampling=False,
    ),
    # The grid's points are queued when the study is made; nothing is left to sample.
    "grid": lambda seed, study_seed, startup: RandomSampler(seed=seed),
}


def build(name: str, seed: int, study_seed: int, trials: int) -> BaseSampler:
    """A sampler for one suggestion.

    It is made anew for each, from a seed of that suggestion, so that what a study suggests
    depends on its history alone, and not on how often the driver was restarted. A quarter of the
    study's `trials`, 4 to 10 of them, are random before a model is used.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[name](seed, study_seed, min(max(trials // 4, 4), 10))


def shuffled(items: Sequence[T], seed: int) -> list[T]:
    """The items in an order drawn from the seed, so that a grid cut short is spread out."""
    return random.Random(seed).sample(items, len(items))
