"""Which hyperparameters took more than one value."""

from __future__ import annotations

import pandas as pd

# What is asked first of a method.
_FIRST = ("rho", "alpha", "lr")


def varied(trials: pd.DataFrame) -> list[str]:
    """Names of the numbers that differ between these trials; rho, alpha and lr come first."""
    columns = [str(column) for column in trials if str(column).startswith("hp_")]
    names = [name.removeprefix("hp_") for name in columns if trials[name].nunique() > 1]
    return [name for name in _FIRST if name in names] + [n for n in names if n not in _FIRST]


def show(value: object) -> str:
    """A hyperparameter's value as it is printed everywhere."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
