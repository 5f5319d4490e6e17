"""What a model says of single samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from training.evaluation import Part, batch_size_for, chunks


@dataclass(frozen=True)
class Predictions:
    """Of the samples of one part, in the order of its indices.

    labels, classes: int64 [n], the true and the likeliest class. confidence: float64 [n], the
    probability given to the latter. losses: float64 [n], nats; their mean is the part's loss.
    """

    part: Part
    labels: NDArray[np.int64]
    classes: NDArray[np.int64]
    confidence: NDArray[np.float64]
    losses: NDArray[np.float64]


def predict(model: nn.Module, parts: Sequence[Part], device: torch.device) -> list[Predictions]:
    """For each part, in order, what the model, which is in evaluation mode, says of its samples."""
    columns: list[list[torch.Tensor]] = [[], [], [], []]
    with torch.inference_mode():
        for x, y in chunks(parts, device, batch_size_for(parts)):
            logits = model(x).float()
            likeliest = logits.softmax(1).max(1)
            losses = F.cross_entropy(logits, y, reduction="none")
            found = (y, logits.argmax(1), likeliest.values, losses)
            for column, tensor in zip(columns, found, strict=True):
                column.append(tensor.cpu())
    labels, classes, confidence, losses = (torch.cat(column) for column in columns)
    sizes = [len(part.indices) for part in parts]
    by_part = zip(
        *(
            torch.split(column, sizes)
            for column in (labels, classes, confidence.double(), losses.double())
        ),
        strict=True,
    )
    return [
        Predictions(part, *(column.numpy() for column in own))
        for part, own in zip(parts, by_part, strict=True)
    ]
