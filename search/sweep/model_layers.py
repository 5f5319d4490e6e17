"""What the layers of the model mean for the keys of the training."""

from __future__ import annotations

from functools import cache
from typing import Literal

from torch import nn

import models
from models.torch_private import BatchNorm as BatchNormLayer
from search.sweep.schema import Sweep
from search.sweep.training_keys import Training

BatchNorm = Literal["auto", "updated", "frozen"]


def batch_norm(sweep: Sweep, training: Training) -> BatchNorm:
    """The value of training.bn, `auto` replaced by its meaning for the model.

    It stays `auto` without effect: if the model has no batch norm, or only its head trains.
    """
    if training.bn != "auto" or not batch_norm_trains(sweep):
        return training.bn
    return "updated" if sweep.model.weights is None else "frozen"


def batch_norm_trains(sweep: Sweep) -> bool:
    """Whether the model has batch norm in layers that train."""
    return sweep.model.tuning != "head" and has_layer(sweep.model.name, BatchNormLayer)


@cache
def has_layer(model: str, kind: type[nn.Module]) -> bool:
    """Whether the model has a layer of this kind; True if there is no such model."""
    try:
        network = models.outline(model)
    except (ValueError, ModuleNotFoundError):
        return True  # another check reports it
    return any(isinstance(module, kind) for module in network.modules())
