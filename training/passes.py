"""Forward and backward passes over the minibatch of one step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.batches import DomainBatch
from models.torch_private import BatchNorm, Dropout
from training.anchor import AnchorState
from training.computation import autocast
from training.micro_batches import cut, in_pieces
from training.outputs import Objective, Outputs, mean_loss
from training.update import FORWARD
from training.weights import Gradients, Weights


class Passes:
    """The passes of one step: the same batch, at whatever weights the model has when asked.

    `freeze_second`: in the second pass batch norm normalises with batch statistics but leaves its
    running statistics alone. All other passes update them, GGA's search included, as in the
    released codes.

    `pieces`: how many the batch is cut into; see training.micro_batches. `precision`: of the
    forward pass; see training.computation. What it gives is float32 all the same. `anchor`: has
    the model before training go forward on each batch, too (training.anchor).
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Weights,
        batch: DomainBatch,
        freeze_second: bool = True,
        pieces: int = 1,
        precision: str = "fp32",
        *,
        anchor: AnchorState | None = None,
    ) -> None:
        self._model = model
        self._weights = weights
        self.batch = batch
        self._freeze_second = freeze_second
        self._pieces = pieces
        self._precision = precision
        self._anchor = anchor
        self._before: tuple[Tensor, ...] | None = None  # maps of this batch, once they are known
        self._apart = False
        self._whole = len(batch.y)
        self._spent = [0.0]  # shared by the passes over other batches of the step

    @property
    def spent(self) -> float:
        """What the step has cost so far: a forward and a backward over all its samples is 1.

        A forward alone is a third (a backward takes about two forwards).
        """
        return self._spent[0]

    def _spend(self, samples: int, share: float = 1.0) -> None:
        self._spent[0] += share * samples / self._whole

    @property
    def classes(self) -> int:
        """How many logits a sample has."""
        return int(self._model.classifier.out_features)  # type: ignore[union-attr, arg-type]

    @property
    def similarity(self) -> Tensor:
        """How alike the texts of two classes are, tau <t_i, t_j>, [classes, classes].

        Raises ValueError if the model has no text head.
        """
        found = getattr(self._model.classifier, "similarity", None)
        if found is None:
            raise ValueError("the model has no text head: MMS needs one (head: text)")
        return found  # type: ignore[no-any-return]

    @property
    def statistics(self) -> list[Tensor]:
        """The model's buffers of real numbers, such as batch norm's running statistics."""
        return [buffer for buffer in self._model.buffers() if buffer.is_floating_point()]

    def over(self, batch: DomainBatch) -> Passes:
        """Passes as these, over another batch."""
        other = copy.copy(self)
        other.batch, other._before = batch, None
        return other

    def apart(self) -> Passes:
        """Passes as these, in which batch norm that looks at the batch sees a domain at a time."""
        other = copy.copy(self)
        other._apart = True
        return other

    def by_domain(self) -> list[Passes]:
        """Passes over the samples of each domain present in the batch, alone."""
        batch, sizes = self.batch, list(self.batch.sizes)
        columns = (torch.split(column, sizes) for column in (batch.x, batch.y, batch.domain))
        return [
            self.over(DomainBatch(x, y, domain, (len(y),)))
            for x, y, domain in zip(*columns, strict=True)
            if len(y)
        ]

    def _forward(self) -> Outputs:
        batch, before = self.batch, self._maps_before()
        if not self._one_by_one:
            features, logits, *maps = self._in_pieces(batch.x, batch.sizes)
        else:
            domains = [x for x in torch.split(batch.x, list(batch.sizes)) if len(x)]
            parts = [self._in_pieces(x, (len(x),)) for x in domains]
            features, logits, *maps = (torch.cat(column) for column in zip(*parts, strict=True))
        return Outputs(features, logits, batch.y, batch.sizes, tuple(maps), before)

    def _maps_before(self) -> tuple[Tensor, ...]:
        """Of the model before training, whose passes over a batch would all be the same."""
        if self._anchor is None or not torch.is_grad_enabled():
            return ()
        if self._before is None:
            self._spend(len(self.batch.y), FORWARD)
            pieces = torch.chunk(self.batch.x, self._pieces)
            with autocast(self._precision, self.batch.x.device):
                parts = [self._anchor.maps_before(piece) for piece in pieces]
            columns = zip(*parts, strict=True)
            self._before = tuple(torch.cat(column).to(self._weights.flat) for column in columns)
        return self._before

    def _in_pieces(self, x: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
        if self._pieces == 1:
            return self._outputs(x)
        return in_pieces(self._outputs, self._model, x, sizes, self._pieces)

    def _outputs(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features and logits, and the maps of the layers that an anchor looks at."""
        with autocast(self._precision, x.device):
            features = self._model.featurizer(x)  # type: ignore[operator]
            logits = self._model.classifier(features)  # type: ignore[operator]
        maps = () if self._anchor is None else self._anchor.maps.take()
        if self._precision == "fp32":
            return features, logits, *maps
        return tuple(tensor.float() for tensor in (features, logits, *maps))

    def gradient(self, objective: Objective, second: bool = False) -> tuple[Tensor, Tensor]:
        """Value [] and gradient [P] of the objective at the current weights.

        The first pass of the next step overwrites the gradient of this one's first, the second
        that of the second.
        """
        self._spend(len(self.batch.y))
        frozen = second and self._freeze_second
        room = self._weights.gradients("second" if second else "first")
        with frozen_statistics(self._model) if frozen else nullcontext():
            if self._pieces > 1 and objective is mean_loss and not self._one_by_one:
                return self._mean_by_pieces(room)
            value = objective(self._forward())
        return value.detach(), room.fill(0, value)

    def _mean_by_pieces(self, room: Gradients) -> tuple[Tensor, Tensor]:
        """Mean loss [] and its gradient [P], a sum over pieces of which each goes forward once."""
        batch, total = self.batch, self.batch.x.new_zeros(())

        def losses() -> Iterator[Tensor]:
            columns = (cut(column, batch.sizes, self._pieces) for column in (batch.x, batch.y))
            for x, y in zip(*columns, strict=True):
                labels = torch.cat(y)
                features, logits, *_ = self._outputs(torch.cat(x))
                outputs = Outputs(features, logits, labels, (len(labels),))
                loss = mean_loss(outputs) * (len(labels) / len(batch.y))
                total.add_(loss.detach())
                yield loss

        return total, room.sum(0, losses())

    def loss(self, domain_losses: Sequence[Tensor] = ()) -> Tensor:
        """Mean loss [] at the current weights, without a gradient.

        domain_losses: what `domain_gradients` gave at the same weights, to be averaged if that
        is the same number.
        """
        # It is not where batch norm would see all samples at once, or dropout draw anew.
        if domain_losses and self._samples_apart:
            present = [size for size in self.batch.sizes if size]
            shared = zip(domain_losses, present, strict=True)
            return torch.stack([loss * (size / sum(present)) for loss, size in shared]).sum()
        self._spend(len(self.batch.y), FORWARD)
        with torch.no_grad():
            return mean_loss(self._forward())

    def look(self) -> None:
        """A forward pass without a gradient: all that it leaves is in the model's buffers."""
        self._spend(len(self.batch.y), FORWARD)
        with torch.no_grad():
            self._forward()

    @cached_property
    def _samples_apart(self) -> bool:
        """Whether what a sample gives depends on nothing but the sample and the weights."""
        drops = any(
            isinstance(module, Dropout) and module.training and module.p > 0
            for module in self._model.modules()
        )
        return not drops and not self._looks_at_batch

    @cached_property
    def _looks_at_batch(self) -> bool:
        """Whether batch norm normalises with the batch's own statistics."""
        return any(
            isinstance(module, BatchNorm) and (module.training or module.running_mean is None)
            for module in self._model.modules()
        )

    @property
    def _one_by_one(self) -> bool:
        # Where no batch norm looks, one pass over all domains gives the same, sooner.
        return self._apart and self._looks_at_batch

    def domain_gradients(self) -> tuple[list[Tensor], Tensor]:
        """Mean loss [] of each domain present in the batch, M of them, and their gradients [M, P].

        Each domain is a forward and a backward of its own: one forward of all, with backwards by
        torch.func.vmap, batched or in turn, takes up to 2.4 times as long on a CPU, and gains next
        to nothing for the smallest models. The next call overwrites the gradients.
        """
        sizes, losses = list(self.batch.sizes), list[Tensor]()
        room = self._weights.gradients("domains", len([size for size in sizes if size]))
        columns = (torch.split(column, sizes) for column in (self.batch.x, self.batch.y))
        for x, y in zip(*columns, strict=True):
            if len(y):
                self._spend(len(y))
                logits = self._in_pieces(x, (len(y),))[1]
                value = F.cross_entropy(logits, y)
                room.fill(len(losses), value)
                losses.append(value.detach())
        return losses, room.matrix


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Batch norm in training mode keeps using batch statistics but updates none of its own."""
    # Not by a momentum of 0, which would still count the batch.
    norms = [m for m in model.modules() if isinstance(m, BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
