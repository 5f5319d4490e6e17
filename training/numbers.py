"""The hyperparameters of a run, by what has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models import tuning
from training import averaging, optimizers
from training.run import Run

OWN = ("lr", "weight_decay", "dropout", "batch_size")


@dataclass(frozen=True)
class Numbers:
    """The training's own, and those of the averaging, the tuning, the optimizer, the algorithm."""

    own: dict[str, float]
    averaging: dict[str, float]
    tuning: dict[str, float]
    optimizer: dict[str, float]
    algorithm: dict[str, float]


def numbers_of(run: Run) -> Numbers:
    """The numbers of a run; what nothing else has is the algorithm's."""
    values = dict(run.hyperparameters)

    def taken(names: Iterable[str]) -> dict[str, float]:
        return {name: values.pop(name) for name in names if name in values}

    return Numbers(
        taken(OWN),
        taken(averaging.hyperparameters(run.averaging)),
        taken(tuning.hyperparameters(run.tuning)),
        taken(optimizers.hyperparameters(run.optimizer)),
        values,
    )
