"""Random numbers of one step, functions of (seed, step) alone."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from datasets.randomness import seed_hash


class Draws(Protocol):
    """Where a part takes its random numbers from."""

    def uniform(self, like: Tensor, out: Tensor | None = None) -> Tensor:
        """U(0, 1), shaped like the tensor; written into `out` if given."""

    def normal(self, like: Tensor) -> Tensor:
        """N(0, 1), shaped like the tensor."""

    def permutation(self, count: int) -> list[int]:
        """0 .. count - 1 in random order."""

    def beta(self, alpha: float) -> float:
        """Beta(alpha, alpha)."""


def seed_dropout(seed: int, step: int, device: torch.device) -> None:
    """Makes the masks of a step a function of (seed, step); each pass of it draws fresh ones."""
    key = seed_hash(seed, "dropout", step)
    if device.type == "cpu":
        # Seeding every kind of device, as torch.manual_seed does, takes a sixth of a small step.
        torch.default_generator.manual_seed(key)
    else:
        torch.manual_seed(key)


class StepDraws:
    """Draws keyed by (seed, step): a resumed run draws what the undisturbed one would have."""

    def __init__(self, seed: int, step: int, device: torch.device) -> None:
        self._key = (seed, "noise", step)
        self._device = device

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(seed_hash(*self._key))

    @cached_property
    def _host_generator(self) -> np.random.Generator:
        # Plain numbers come from the CPU: a GPU's would have to be waited for.
        return np.random.Generator(np.random.Philox(key=seed_hash(*self._key)))

    def uniform(self, like: Tensor, out: Tensor | None = None) -> Tensor:
        """U(0, 1), shaped like the tensor."""
        room = torch.empty_like(like) if out is None else out
        return room.uniform_(generator=self._generator)

    def normal(self, like: Tensor) -> Tensor:
        """N(0, 1), shaped like the tensor."""
        return torch.empty_like(like).normal_(generator=self._generator)

    def permutation(self, count: int) -> list[int]:
        """0 .. count - 1 in random order."""
        order: list[int] = self._host_generator.permutation(count).tolist()
        return order

    def beta(self, alpha: float) -> float:
        """Beta(alpha, alpha)."""
        return float(self._host_generator.beta(alpha, alpha))
