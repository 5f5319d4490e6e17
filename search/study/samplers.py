"""Optuna's samplers by the names of a sweep file, and how they draw from ranges."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from search.space.ranges import Choice, Fixed, Interval, Range, Value

MAX_REDRAWS = 100  # a space of single values may have no other setting left

T = TypeVar("T")


# (seed of this suggestion, seed of the study, its trials) -> sampler
SAMPLERS: dict[str, Callable[[int, int, int], BaseSampler]] = {
    # With fewer random trials it settles too early (benchmarks/search_efficiency.py).
    "tpe": lambda seed, study_seed, trials: TPESampler(
        seed=seed, n_startup_trials=startup_trials(trials, one_in=2)
    ),
    # These two learn from completed trials and count these only, not pruned ones.
    "gp": lambda seed, study_seed, trials: GPSampler(
        seed=seed, n_startup_trials=startup_trials(trials)
    ),
    "cmaes": lambda seed, study_seed, trials: CmaEsSampler(
        seed=seed, n_startup_trials=startup_trials(trials), warn_independent_sampling=False
    ),
    # Its first generation is drawn at random.
    "nsgaii": lambda seed, study_seed, trials: NSGAIISampler(
        seed=seed, population_size=startup_trials(trials)
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
    """A sampler for one suggestion in a study with this number of trials.

    seed: of this suggestion. study_seed: of the study. A new sampler for each suggestion makes
    what a study suggests depend on its history alone, not on restarts of the driver. Raises
    KeyError for an unknown name.
    """
    searched = {k: distribution(r) for k, r in space.items() if not isinstance(r, Fixed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return DistinctSampler(SAMPLERS[name](seed, study_seed, trials), searched, seed)


def startup_trials(trials: int, one_in: int = 4) -> int:
    """How many of a study's trials are drawn at random before the sampler learns: 4 to 10."""
    return min(max(trials // one_in, 4), 10)


def shuffled(items: Sequence[T], seed: int) -> list[T]:
    """The items in a random order of this seed, so that a grid cut short is spread out."""
    return random.Random(seed).sample(items, len(items))


def suggest(trial: optuna.Trial, name: str, range_: Range) -> Value:
    """A value for one hyperparameter of a trial; a fixed one is not told to Optuna."""
    match range_:
        case Interval(low, high, log, whole):
            if whole:
                return trial.suggest_int(name, int(low), int(high), log=log)
            return trial.suggest_float(name, low, high, log=log)
        case Choice(values):
            return cast(Value, trial.suggest_categorical(name, values))
        case Fixed(value):
            return value


def distribution(range_: Interval | Choice) -> BaseDistribution:
    """The range as Optuna's distribution."""
    match range_:
        case Interval(low, high, log, whole):
            if whole:
                return IntDistribution(int(low), int(high), log=log)
            return FloatDistribution(low, high, log=log)
        case Choice(values):
            return CategoricalDistribution(values)


class DistinctSampler(BaseSampler):
    """Another sampler, but a setting that its study has had is drawn again at random.

    The same setting with the same seed gives the same run, which tells nothing new. space: all
    hyperparameters that are searched, in the order in which they are drawn.
    """

    def __init__(
        self, sampler: BaseSampler, space: Mapping[str, BaseDistribution], seed: int
    ) -> None:
        self._sampler = sampler
        self._space = dict(space)
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space."""
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A setting that no earlier trial has, if one of MAX_REDRAWS is new."""
        queued = trial.system_attrs.get("fixed_params", {})
        jointly = self._sampler.infer_relative_search_space(study, trial)
        known = self._sampler.sample_relative(study, trial, jointly) | queued
        drawn = self._whole(self._sampler, study, trial, known)
        earlier = [
            other.params
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and other.state != TrialState.WAITING
        ]
        for _ in range(MAX_REDRAWS):
            if drawn not in earlier:
                break
            drawn = self._whole(self._random, study, trial, queued)
        return drawn

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value outside the space, as the other sampler draws it."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def _whole(
        self,
        sampler: BaseSampler,
        study: optuna.Study,
        trial: FrozenTrial,
        known: Mapping[str, Any],
    ) -> dict[str, Any]:
        return {
            name: known[name]
            if name in known
            else sampler.sample_independent(study, trial, name, distribution)
            for name, distribution in self._space.items()
        }
