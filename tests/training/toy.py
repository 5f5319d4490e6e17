"""A small network with whatever layers a test is about, and batches for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from datasets.batches import DomainBatch
from training.passes import Passes
from training.weights import Weights

FEATURES, CLASSES = 6, 3


class Toy(nn.Module):
    """features [N, 6] -> 5 -> logits [N, 3]; `between` sits behind the first layer."""

    def __init__(self, *between: nn.Module, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.featurizer = nn.Sequential(nn.Linear(FEATURES, 5), *between, nn.Tanh())
        self.classifier = nn.Linear(5, CLASSES)
        self.to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.featurizer(x))


def batch(*sizes: int, dtype: torch.dtype = torch.float64) -> DomainBatch:
    """`sizes` samples of as many domains."""
    generator = torch.Generator().manual_seed(1)
    n = sum(sizes)
    return DomainBatch(
        torch.randn(n, FEATURES, generator=generator, dtype=dtype),
        torch.randint(CLASSES, (n,), generator=generator),
        torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
        sizes,
    )


def passes(model: nn.Module, *sizes: int, **options: Any) -> tuple[Passes, Weights]:
    weights = Weights(model)
    return Passes(model, weights, batch(*sizes, dtype=weights.flat.dtype), **options), weights


def forwards(model: nn.Module) -> list[int]:
    """Fills with the size of each batch that goes forward from now on."""
    seen: list[int] = []
    model.featurizer.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    return seen
