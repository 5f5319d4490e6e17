"""Random draws around the setting that a study begins with, the more the further the study is.

So PriorBand draws (Mallik et al. 2023, arXiv 2306.12370), without its draws around the best trials.
Trial n of N is drawn around the setting with probability n/N: a number from a normal distribution
of a fifth of its range, a choice as it is. Else it is drawn from the whole range.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from search.study import samplers
from search.study.samplers import SharedDraws

WIDTH = 0.2


class PriorDraws(SharedDraws):
    """Draws around the setting of the study's first trial."""

    trials = 20

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As SharedDraws, or around the first trial's value."""
        first: Mapping[str, Any] = study.get_trials(deepcopy=False)[0].params
        draw = random.Random(repr((self._key, trial.number, "prior")))
        if param_name not in first or draw.random() >= trial.number / self.trials:
            return super().sample_independent(study, trial, param_name, param_distribution)
        centre = first[param_name]
        if isinstance(param_distribution, CategoricalDistribution):
            return centre
        low, high, log = (getattr(param_distribution, name) for name in ("low", "high", "log"))
        own = random.Random(repr((self._key, trial.number, param_name)))
        if log:
            low, high, centre = math.log(low), math.log(high), math.log(centre)
        value = min(max(own.gauss(centre, WIDTH * (high - low)), low), high)
        found = math.exp(value) if log else value
        bounded = min(max(found, param_distribution.low), param_distribution.high)  # type: ignore[attr-defined]
        whole = isinstance(param_distribution, optuna.distributions.IntDistribution)
        return round(bounded) if whole else bounded


@contextmanager
def prior_draws(trials: int) -> Iterator[None]:
    """Makes the sampler `random` draw so."""
    with (
        patch.object(samplers, "SharedDraws", PriorDraws),
        patch.object(PriorDraws, "trials", trials),
    ):
        yield
