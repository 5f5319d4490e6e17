"""Optuna's samplers by the names of a sweep file, and how they draw from ranges."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
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
from optuna.trial import FrozenTrial

from datasets.randomness import seed_hash
from search.space.ranges import Choice, Fixed, Interval, Range, Value
from search.study.distinct_sampler import DistinctSampler
from search.study.plan import StudyPlan
from search.sweep.search_keys import Search

T = TypeVar("T")


class Draws:
    """Where a sampler has its random numbers from, for the suggestion of one trial.

    seed: of this suggestion. study_seed: of all suggestions of the study. trials: how many the
    study has.
    """

    def __init__(self, plan: StudyPlan, number: int) -> None:
        own = [plan.study.id] if plan.as_before else []
        self.seed = seed_hash(plan.search.seed, *own, number)
        self.study_seed = study_seed(plan)
        self.trials = plan.search.trials
        self._shared = None if plan.as_before else plan.search.seed
        self._again = RandomSampler(seed=self.seed)

    def at_random(self, redraw: int) -> RandomSampler:
        """A sampler that knows no history.

        redraw: counts from 1 where the first draw of a trial repeats an earlier setting.
        """
        if self._shared is not None:
            return SharedDraws(self._shared, redraw)
        return self._again if redraw else RandomSampler(seed=self.seed)


def _tpe(draws: Draws) -> BaseSampler:
    # With fewer random trials it settles too early (benchmarks/search_efficiency.py).
    startup = startup_trials(draws.trials, one_in=2)
    return _starting(TPESampler(seed=draws.seed, n_startup_trials=startup), draws)


def _nsgaii(draws: Draws) -> BaseSampler:
    # Its first generation is drawn at random.
    population = startup_trials(draws.trials)
    return _starting(NSGAIISampler(seed=draws.seed, population_size=population), draws)


def _starting(sampler: TPESampler | NSGAIISampler, draws: Draws) -> BaseSampler:
    """The sampler, which draws its random trials from these."""
    # Unlike the others, these two have no argument for it.
    sampler._random_sampler = draws.at_random(0)
    return sampler


SAMPLERS: dict[str, Callable[[Draws], BaseSampler]] = {
    "tpe": _tpe,
    # These two learn from completed trials and count these only, not pruned ones.
    "gp": lambda draws: GPSampler(
        seed=draws.seed,
        n_startup_trials=startup_trials(draws.trials),
        independent_sampler=draws.at_random(0),
    ),
    "cmaes": lambda draws: CmaEsSampler(
        seed=draws.seed,
        n_startup_trials=startup_trials(draws.trials),
        independent_sampler=draws.at_random(0),
        warn_independent_sampling=False,
    ),
    "nsgaii": _nsgaii,
    "random": lambda draws: draws.at_random(0),
    # A sequence is one sequence only under one seed.
    "qmc": lambda draws: QMCSampler(
        seed=draws.study_seed,
        scramble=True,
        independent_sampler=draws.at_random(0),
        warn_independent_sampling=False,
    ),
    # The grid's points are queued when the study is made; nothing is left to sample.
    "grid": lambda draws: draws.at_random(0),
}
ONE_OBJECTIVE = ("cmaes",)  # these take no more
# The suggestions of these do not depend on earlier results.
UNGUIDED = ("random", "qmc", "grid")


def build(
    name: str,
    plan: StudyPlan,
    number: int,
    frozen: Collection[int] = (),
    means: Mapping[int, float] | None = None,
) -> BaseSampler:
    """A sampler for the trial of this number in the study of the plan.

    frozen: trials that wait, which it takes for pruned ones. means: values of completed trials that
    it is told instead of their own.

    A new sampler for each suggestion makes what a study suggests depend on its history alone, not
    on restarts of the driver. Raises KeyError for an unknown name.
    """
    searched = {k: distribution(r) for k, r in plan.space.items() if not isinstance(r, Fixed)}
    draws = Draws(plan, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return DistinctSampler(
            SAMPLERS[name](draws), searched, draws.at_random, frozen, means or {}
        )


def study_seed(plan: StudyPlan) -> int:
    """The seed of all suggestions of a study, the same for all studies of a sweep."""
    return seed_hash(plan.search.seed, *([plan.study.id] if plan.as_before else []))


def startup_trials(trials: int, one_in: int = 4) -> int:
    """How many of a study's trials are drawn at random before the sampler learns: 4 to 10."""
    return min(max(trials // one_in, 4), 10)


def drawn_at_random(search: Search) -> int | None:
    """How many of a study's trials do not depend on earlier ones; None for all."""
    if search.sampler in UNGUIDED:
        return None
    return startup_trials(search.trials, 2 if search.sampler == "tpe" else 4)


def grace_trials(search: Search) -> int:
    """Trials at the start that cannot stagnate: those before the sampler learns, if it does."""
    return 0 if search.sampler in UNGUIDED else startup_trials(search.trials)


def patience(search: Search) -> int:
    """Trials without a better one after which a study stagnates; by default half of its trials."""
    return search.patience or math.ceil(search.trials / 2)


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


class SharedDraws(RandomSampler):
    """Draws each hyperparameter by (seed, trial number, name) alone.

    The trials of one number have the same values in all studies whose ranges are the same: of all
    algorithms, datasets, held-out domains and seeds. Ranges that differ have the same quantile. So
    algorithms do not differ by the luck of their draws. DomainBed draws by (setting, seed, name).
    """

    def __init__(self, seed: int, redraw: int = 0) -> None:
        super().__init__()
        self._key = (seed, redraw) if redraw else (seed,)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The quantile of the distribution that belongs to the trial's number and the name."""
        return self.draw(trial.number, param_name, param_distribution)

    def draw(self, number: int, name: str, within: BaseDistribution) -> Any:
        """A value for the trial of this number in any study."""
        unit = (seed_hash(*self._key, number, name) + 0.5) / 2**31
        match within:
            case CategoricalDistribution(choices=choices):
                return choices[int(unit * len(choices))]
            case FloatDistribution(low=low, high=high, log=log):
                return min(max(_between(low, high, unit, log), low), high)
            case IntDistribution(low=low, high=high, log=log):
                value = round(_between(low - 0.5, high + 0.5, unit, log))
                return min(max(value, low), high)
        raise TypeError(f"no draw from a {type(within).__name__}")


def _between(low: float, high: float, unit: float, log: bool) -> float:
    return (
        math.exp(_between(math.log(low), math.log(high), unit, False))
        if log
        else (low + (high - low) * unit)
    )
