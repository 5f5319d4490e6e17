"""Accuracy and loss of a model on parts of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.batches import as_input
from datasets.domain_dataset import Domain

Role = Literal["source", "held_out"]
SplitName = Literal["in", "out"]


@dataclass(frozen=True)
class Part:
    """One split of one domain: `indices` [n] into the domain's samples."""

    domain: Domain
    role: Role
    split: SplitName
    indices: np.ndarray


@dataclass(frozen=True)
class Score:
    """What a model makes of one split of one domain. accuracy in [0, 1], loss a mean in nats."""

    domain: str
    role: Role
    split: SplitName
    accuracy: float
    loss: float
    count: int


@dataclass(frozen=True)
class Evaluation:
    """Scores after `step` updates; `seconds` is the time spent on the run so far."""

    step: int
    scores: tuple[Score, ...]
    seconds: float

    @property
    def validation(self) -> float:
        """Training-domain validation: unweighted mean accuracy of the source domains' out splits.

        Gulrajani & Lopez-Paz 2021, arXiv 2007.01434, section 3.
        """
        out = [s.accuracy for s in self.scores if s.role == "source" and s.split == "out"]
        return sum(out) / len(out)


def evaluate(
    model: nn.Module, parts: Sequence[Part], device: torch.device, batch_size: int = 1024
) -> tuple[Score, ...]:
    """A score for each part, in order; the model is left in the mode it was in."""
    was_training = model.training
    model.eval()
    losses, hits = [], []
    try:
        with torch.inference_mode():
            for x, y in _chunks(parts, device, batch_size):
                logits = model(x)
                losses.append(F.cross_entropy(logits, y, reduction="none"))
                hits.append(logits.argmax(1) == y)
    finally:
        model.train(was_training)
    sizes = [len(part.indices) for part in parts]
    loss_of = torch.split(torch.cat(losses).double().cpu(), sizes)
    hits_of = torch.split(torch.cat(hits).cpu(), sizes)
    return tuple(
        Score(
            part.domain.name,
            part.role,
            part.split,
            int(hit.sum()) / size,
            float(loss.sum()) / size,
            size,
        )
        for part, size, loss, hit in zip(parts, sizes, loss_of, hits_of, strict=True)
    )


def _chunks(
    parts: Sequence[Part], device: torch.device, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that run across the borders of parts, so that small parts share a pass."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    count = 0
    for part in parts:
        taken = 0
        while taken < len(part.indices):
            chosen = part.indices[taken : taken + size - count]
            images.append(part.domain.images[chosen])
            labels.append(part.domain.labels[chosen])
            taken, count = taken + len(chosen), count + len(chosen)
            if count == size:
                yield _to_device(images, labels, device)
                images, labels, count = [], [], 0
    if count:
        yield _to_device(images, labels, device)


def _to_device(
    images: list[np.ndarray], labels: list[np.ndarray], device: torch.device
) -> tuple[Tensor, Tensor]:
    pixels = torch.from_numpy(np.concatenate(images)).to(device)
    return as_input(pixels), torch.from_numpy(np.concatenate(labels)).to(device)
