"""The hyperparameters of a run, sorted by what they belong to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models import tuning
from training import averaging
from training.run import Run

OWN = ("lr", "weight_decay", "dropout", "batch_size")


@dataclass(frozen=True)
class Hyperparameters:
    """Values by name, in groups.

    own: lr, weight_decay, dropout and batch_size. The others are those of the part they name.
    """

    own: dict[str, float]
    averaging: dict[str, float]
    tuning: dict[str, float]
    optimizer: dict[str, float]
    algorithm: dict[str, float]


def of_optimizer(name: str) -> dict[str, float]:
    """The numbers of an optimizer that a trial may search, with their defaults; most have none."""
    return {"genie_average": 0.95, "genie_drop": 0.4} if name == "genie" else {}


def hyperparameters_of(run: Run) -> Hyperparameters:
    """Those of a run; what belongs to nothing else is the algorithm's."""
    values = dict(run.hyperparameters)

    def taken(names: Iterable[str]) -> dict[str, float]:
        return {name: values.pop(name) for name in names if name in values}

    return Hyperparameters(
        taken(OWN),
        taken(averaging.hyperparameters(run.averaging)),
        taken(tuning.hyperparameters(run.tuning)),
        taken(of_optimizer(run.optimizer)),
        values,
    )
