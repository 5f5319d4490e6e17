"""Averages of the weights that a run passes through, by name: a second axis beside the update.

Each is a dataclass whose numbers are hyperparameters, named as in `swad_ratio`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, Protocol

from training.averaging.from_the_start import BMA, ERMPP, SMA
from training.averaging.moving import EMA, SWA
from training.averaging.swad import SWAD

if TYPE_CHECKING:
    from torch import Tensor, device

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


class Averaging(Protocol):
    """Is told of each step and of each evaluation; holds no weights but its own.

    It may have two more: `runs_along`, true if `result` may be asked for after every step, and
    `sees_batches`, true if the averaged network is to see the batch of each step, too; `saw` then
    gets its running statistics (SMA and ERMPP).
    """

    @property
    def ended(self) -> bool:
        """Whether training on would not change the average."""

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        """The weights [P] after `step` of `steps` updates, step 0 being the start; they are copied.

        statistics: batch norm's running statistics [B] at that step; None if they never change.
        """

    def evaluated(self, loss: float) -> None:
        """The latest weights have this validation loss."""

    def result(self) -> Tensor:
        """The averaged weights [P]; not a promise of which device they are on."""

    @property
    def statistics(self) -> Tensor | None:
        """The averaged running statistics [B]; None if it averages weights alone."""

    def state(self) -> dict[str, Any]:
        """All that it remembers, as tensors and plain values that stay as they are."""

    def restore(self, state: Mapping[str, Any], device: device) -> None:
        """Goes on from a state, which stays as it is."""


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
    settings = {**hyperparameters(name), **values}
    if name == NONE:
        return None
    # A whole number that went through a table may come back as 3.0.
    numbers = {
        key.removeprefix(f"{PREFIXES.get(name, name)}_"): type(default)(settings[key])
        for key, default in hyperparameters(name).items()
    }
    averaging: Averaging = AVERAGINGS[name](**numbers)
    return averaging


def _default(number: Field[Any]) -> float:
    assert isinstance(number.default, int | float)
    return number.default
