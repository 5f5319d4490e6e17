"""Ranges as Optuna draws from them."""

from __future__ import annotations

from typing import cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.space.ranges import Choice, Fixed, Interval, Range, Value


def suggest(trial: optuna.Trial, name: str, range_: Range) -> Value:
    """A value for one hyperparameter of a trial; Optuna never hears of a fixed one."""
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
    """What `suggest` draws from, as Optuna knows it."""
    match range_:
        case Interval(low, high, log, whole):
            if whole:
                return IntDistribution(int(low), int(high), log=log)
            return FloatDistribution(low, high, log=log)
        case Choice(values):
            return CategoricalDistribution(values)
