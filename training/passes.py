"""Forward and backward passes over the minibatch of one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from datasets.batches import DomainBatch
from training.weights import Weights


@dataclass(frozen=True)
class Outputs:
    """What one forward pass over a batch of all source domains gives.

    features [N, D], logits [N, classes], y [N], sizes: samples of each of the M domains, whose
    samples lie in contiguous blocks.
    """

    features: Tensor
    logits: Tensor
    y: Tensor
    sizes: tuple[int, ...]

    @cached_property
    def losses(self) -> Tensor:
        """Cross-entropy of each sample, [N]."""
        return F.cross_entropy(self.logits, self.y, reduction="none")

    @cached_property
    def domain_losses(self) -> Tensor:
        """Mean cross-entropy of each domain present in the batch, [M]."""
        if len(set(self.sizes)) == 1:
            return self.losses.view(len(self.sizes), -1).mean(1)
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


class Passes:
    """The passes of one step: the same batch, at whatever weights the model has when asked.

    `freeze_second`: in the second pass batch norm normalises with batch statistics but leaves its
    running statistics alone. All other passes update them, GGA's search included, as in the
    released codes.
    """

    def __init__(
        self, model: nn.Module, weights: Weights, batch: DomainBatch, freeze_second: bool = True
    ) -> None:
        self._model = model
        self._weights = weights
        self._batch = batch
        self._freeze_second = freeze_second

    def _forward(self, x: Tensor, y: Tensor, sizes: tuple[int, ...]) -> Outputs:
        features = self._model.featurizer(x)  # type: ignore[operator]
        return Outputs(features, self._model.classifier(features), y, sizes)  # type: ignore[operator]

    def gradient(self, objective: Objective, second: bool = False) -> tuple[Tensor, Tensor]:
        """Value [] and gradient [P] of the objective at the current weights.

        The first pass of the next step overwrites the gradient of this one's first, the second
        that of the second.
        """
        frozen = second and self._freeze_second
        with frozen_statistics(self._model) if frozen else nullcontext():
            batch = self._batch
            value = objective(self._forward(batch.x, batch.y, batch.sizes))
        room = self._weights.gradients("second" if second else "first")
        return value.detach(), room.fill(0, value)

    def loss(self) -> Tensor:
        """Mean loss [] at the current weights, without a gradient."""
        batch = self._batch
        with torch.no_grad():
            return mean_loss(self._forward(batch.x, batch.y, batch.sizes))

    def domain_gradients(self) -> Tensor:
        """Gradients of the mean loss of each domain present in the batch, [M, P].

        Each domain is a forward of its own. The next call overwrites them.
        """
        batch = self._batch
        room = self._weights.gradients("domains", len(batch.sizes))
        present = 0
        sizes = list(batch.sizes)
        for x, y in zip(torch.split(batch.x, sizes), torch.split(batch.y, sizes), strict=True):
            if len(y):
                room.fill(present, mean_loss(self._forward(x, y, (len(y),))))
                present += 1
        return room.matrix[:present]


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norm in training mode keeps using batch statistics but updates none of its own."""
    # Not by a momentum of 0, which would still count the batch.
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
