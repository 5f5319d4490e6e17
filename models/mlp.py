"""`mlp`: two hidden layers, the quickest model."""

from __future__ import annotations

from math import prod

from torch import nn


def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    """Maps x [N, C, H, W] to features [N, 128]; shape = (C, H, W)."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(shape), 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
    ), 128
