"""What a forward pass gives, and the loss that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Outputs:
    """What one forward pass over a batch of all source domains gives.

    features [N, D], logits [N, classes], y [N] classes or [N, classes] the share of each class
    (Mixup), sizes: samples of each of the M domains, whose samples lie in contiguous blocks.
    maps, maps_before: feature maps [N, channels, ...] of the layers that an anchor looks at, of the
    model and of the model before training (MIRO).
    """

    features: Tensor
    logits: Tensor
    y: Tensor
    sizes: tuple[int, ...]
    maps: tuple[Tensor, ...] = ()
    maps_before: tuple[Tensor, ...] = ()

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy of each sample, [N]."""
        return F.cross_entropy(self.logits, self.y, reduction="none")

    @cached_property
    def errors(self) -> Tensor:
        """Each sample's probabilities less its label, [N, classes].

        The gradient of its cross-entropy by its logits.
        """
        return self.logits.softmax(1) - F.one_hot(self.y, self.logits.shape[1])

    def by_domain(self, values: Tensor) -> Tensor:
        """What belongs to each sample, [N, ...], as [M, n, ...].

        Raises ValueError if the domains have not all as many samples.
        """
        if len(set(self.sizes)) > 1:
            raise ValueError(f"each domain needs as many samples as the others, not {self.sizes}")
        return torch.unflatten(values, 0, (len(self.sizes), -1))

    @cached_property
    def domain_losses(self) -> Tensor:
        """Mean cross-entropy of each domain present in the batch, [M]."""
        if len(set(self.sizes)) == 1:
            return self.by_domain(self.losses).mean(1)
        return torch.stack(
            [part.mean() for part in torch.split(self.losses, list(self.sizes)) if len(part)]
        )

    @cached_property
    def shares(self) -> Tensor:
        """Share n_i / n of each domain present in the batch, [M]; sums to 1."""
        present = [size for size in self.sizes if size]
        return self.losses.new_tensor(present) / sum(present)


Objective = Callable[[Outputs], Tensor]


def mean_loss(outputs: Outputs) -> Tensor:
    """L: cross-entropy averaged over the samples of all domains."""
    return outputs.losses.mean()
