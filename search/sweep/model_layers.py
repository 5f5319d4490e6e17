"""What the layers of a sweep's model mean for keys of its training."""

from __future__ import annotations

from functools import cache
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import models
from search.sweep.schema import Sweep
from search.sweep.training_keys import Training

BatchNorm = Literal["auto", "updated", "frozen"]


def batch_norm(sweep: Sweep, training: Training) -> BatchNorm:
    """What `bn` of this training means in the sweep: what it says, or what `auto` stands for.

    It stays `auto` where there is nothing to say: without batch norm, or if only the head trains.
    """
    if training.bn != "auto" or not batch_norm_trains(sweep):
        return training.bn
    return "updated" if sweep.model.weights is None else "frozen"


def batch_norm_trains(sweep: Sweep) -> bool:
    """Whether batch norm could look at batches."""
    return sweep.model.tuning != "head" and has_layer(sweep.model.name, _BatchNorm)


@cache
def has_layer(model: str, kind: type[nn.Module]) -> bool:
    """Whether the model has a layer of this kind; True if there is no such model."""
    try:
        network = models.outline(model)
    except (ValueError, ModuleNotFoundError):
        return True  # said elsewhere
    return any(isinstance(module, kind) for module in network.modules())
