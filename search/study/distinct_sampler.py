"""A sampler that never repeats a setting, and is told what a search knows of earlier trials."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Container, Mapping
from types import MappingProxyType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

MAX_REDRAWS = 100  # a space of single values may have no other setting left


class DistinctSampler(BaseSampler):
    """Another sampler, but a setting that its study has had is drawn again at random.

    The same setting with the same seed gives the same run, which tells nothing new. space: all
    hyperparameters that are searched, in the order in which they are drawn. at_random: as in Draws.
    frozen: trials that the other sampler takes for pruned ones. means: what it takes for the values
    of completed ones.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        space: Mapping[str, BaseDistribution],
        at_random: Callable[[int], BaseSampler],
        frozen: Collection[int] = (),
        means: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        self._frozen, self._means = frozen, means
        self._sampler = sampler
        self._space = dict(space)
        self._at_random = at_random

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The whole space."""
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A setting that no earlier trial has, if one of MAX_REDRAWS is new."""
        study = _as_told(study, self._frozen, self._means)
        queued = trial.system_attrs.get("fixed_params", {})
        jointly = self._sampler.infer_relative_search_space(study, trial)
        known = self._sampler.sample_relative(study, trial, jointly) | queued
        drawn = self._whole(self._sampler, study, trial, known)
        earlier = [
            other.params
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and other.state != TrialState.WAITING
        ]
        for redraw in range(1, MAX_REDRAWS + 1):
            if drawn not in earlier:
                break
            drawn = self._whole(self._at_random(redraw), study, trial, queued)
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


def _as_told(
    study: optuna.Study, pruned: Collection[int], means: Mapping[int, float]
) -> optuna.Study:
    """The study as it would be if these trials had been pruned, and those had these values."""
    if not pruned and not means:
        return study

    def trials(
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        known = [copy.copy(trial) for trial in study.get_trials(deepcopy=False)]
        for trial in known:
            if trial.number in pruned:
                trial.state, trial.values = TrialState.PRUNED, None
            elif trial.number in means:
                trial.values = [means[trial.number]]
        return [trial for trial in known if states is None or trial.state in states]

    seen = copy.copy(study)
    seen._get_trials = trials  # type: ignore[method-assign]
    return seen
