"""Optuna's samplers by the names of a sweep file."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from search.space.distributions import distribution
from search.space.ranges import Fixed, Range
from search.study.distinct_sampler import DistinctSampler

T = TypeVar("T")


# (seed of this suggestion, seed of the study, its trials) -> sampler
SAMPLERS: dict[str, Callable[[int, int, int], BaseSampler]] = {
    # With fewer at random it settles too early (benchmarks/search_efficiency.py).
    "tpe": lambda seed, study_seed, trials: TPESampler(
        seed=seed, n_startup_trials=startup(trials, one_in=2)
    ),
    # These two learn from completed trials only, and count them only: pruned ones come on top.
    "gp": lambda seed, study_seed, trials: GPSampler(seed=seed, n_startup_trials=startup(trials)),
    "cmaes": lambda seed, study_seed, trials: CmaEsSampler(
        seed=seed, n_startup_trials=startup(trials), warn_independent_sampling=False
    ),
    # Its first generation is drawn at random.
    "nsgaii": lambda seed, study_seed, trials: NSGAIISampler(
        seed=seed, population_size=startup(trials)
    ),
    "random": lambda seed, study_seed, trials: RandomSampler(seed=seed),
    # A sequence is one sequence only under one seed.
    "qmc": lambda seed, study_seed, trials: QMCSampler(
        seed=study_seed,
        scramble=True,
        independent_sampler=RandomSampler(seed=seed),
        warn_independent_sampling=False,
    ),
    # The grid's points are queued when the study is made; nothing is left to sample.
    "grid": lambda seed, study_seed, trials: RandomSampler(seed=seed),
}
ONE_OBJECTIVE = ("cmaes",)  # these take no more


def build(
    name: str, seed: int, study_seed: int, trials: int, space: Mapping[str, Range]
) -> BaseSampler:
    """A sampler for one suggestion, in a study of so many trials over a space.

    It is made anew for each, from a seed of that suggestion, so that what a study suggests
    depends on its history alone, and not on how often the driver was restarted.
    """
    searched = {k: distribution(r) for k, r in space.items() if not isinstance(r, Fixed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return DistinctSampler(SAMPLERS[name](seed, study_seed, trials), searched, seed)


def startup(trials: int, one_in: int = 4) -> int:
    """How many of a study's trials are random before a model is used: 4 to 10."""
    return min(max(trials // one_in, 4), 10)


def shuffled(items: Sequence[T], seed: int) -> list[T]:
    """The items in an order drawn from the seed, so that a grid cut short is spread out."""
    return random.Random(seed).sample(items, len(items))
