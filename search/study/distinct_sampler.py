"""No setting is tried twice: the same seed makes the same run of it, which tells nothing new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

REDRAWS = 100  # a space of single values may have no other setting left


class DistinctSampler(BaseSampler):
    """Another sampler's settings; one that its study has had is drawn anew, at random.

    space: every hyperparameter that is searched. The sampler draws a whole setting, in that order.
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
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        queued = trial.system_attrs.get("fixed_params", {})
        jointly = self._sampler.infer_relative_search_space(study, trial)
        known = self._sampler.sample_relative(study, trial, jointly) | queued
        drawn = self._whole(self._sampler, study, trial, known)
        earlier = [
            other.params
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and other.state != TrialState.WAITING
        ]
        for _ in range(REDRAWS):
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
