"""Averages of the weights that a run passes through, by name: a second axis beside the update.

Each is a dataclass whose numbers are hyperparameters, named as in `swad_ratio`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from training.averaging.average import Averaging
from training.averaging.moving import BMA, EMA, ERMPP, SMA, SWA
from training.averaging.swad import SWAD

__all__ = [
    "AVERAGINGS",
    "BMA",
    "EMA",
    "ERMPP",
    "NONE",
    "SMA",
    "SWA",
    "SWAD",
    "Averaging",
    "build",
    "hyperparameters",
]

NONE = "none"


AVERAGINGS: dict[str, type[Any]] = {
    "swad": SWAD,
    "swa": SWA,
    "sma": SMA,
    "ema": EMA,
    "bma": BMA,
    "erm++": ERMPP,
}

# What their numbers' names begin with, where it is not their own name.
PREFIXES = {"erm++": "ermpp"}


def hyperparameters(name: str) -> dict[str, float]:
    """The numbers of an averaging with their defaults, such as swad_ratio; `none` has none.

    Raises ValueError for an unknown name.
    """
    if name == NONE:
        return {}
    if name not in AVERAGINGS:
        known = ", ".join([NONE, *AVERAGINGS])
        raise ValueError(f"unknown averaging {name!r}; there are: {known}")
    numbers = [field for field in fields(AVERAGINGS[name]) if field.init]
    prefix = PREFIXES.get(name, name)
    return {f"{prefix}_{number.name}": _default(number) for number in numbers}


def build(name: str, values: Mapping[str, float]) -> Averaging | None:
    """The averaging with these numbers, by the names of `hyperparameters`; None for `none`.

    Raises ValueError for an unknown name or a number out of range.
    """
    if name == NONE:
        return None
    # A whole number that went through a table may come back as 3.0.
    numbers = {
        key.removeprefix(f"{PREFIXES.get(name, name)}_"): type(default)(values.get(key, default))
        for key, default in hyperparameters(name).items()
    }
    averaging: Averaging = AVERAGINGS[name](**numbers)
    return averaging


def _default(number: Field[Any]) -> float:
    assert isinstance(number.default, int | float)
    return number.default
