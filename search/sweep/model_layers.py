"""What the layers of the model mean for the keys of the training."""

from __future__ import annotations

from functools import cache
from typing import Literal

import models
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
    return sweep.model.tuning != "head" and has_layer(sweep.model.name, "batch norm")


@cache
def has_layer(model: str, kind: Literal["batch norm", "convolution"]) -> bool:
    """Whether the model has a layer of this kind; True if there is no such model."""
    from torch import nn

    from models.torch_private import BatchNorm

    try:
        network = models.outline(model)
    except (ValueError, ModuleNotFoundError):
        return True  # another check reports it
    return any(
        isinstance(module, BatchNorm if kind == "batch norm" else nn.Conv2d)
        for module in network.modules()
    )
