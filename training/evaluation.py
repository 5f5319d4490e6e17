"""Accuracy and loss of a model on parts of a dataset, and its predictions of single samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from datasets.domain_dataset import Domain, DomainDataset, members
from datasets.randomness import split
from datasets.views import Block, View, as_stored

# left_out: the domain that a fold is not trained on besides those held out (training.run).
Role = Literal["source", "held_out", "left_out"]
SplitName = Literal["in", "out"]
# Those that training has come to, an average of those that it passed through, or those of a second
# stage (training.retraining), beside which stands the validation of the first.
WhichWeights = Literal["iterate", "average", "retrained"]
BINS = 15  # of the calibration error, as in Guo et al. 2017


@dataclass(frozen=True)
class Part:
    """One split of one domain: `indices` [n] into the domain's samples, and how they are shown."""

    domain: Domain
    role: Role
    split: SplitName
    indices: np.ndarray
    view: View = as_stored


@dataclass(frozen=True)
class Score:
    """What a model makes of one split of one domain. accuracy in [0, 1], loss a mean in nats.

    sharpness, curvature: see training.flatness; None where they were not measured. ece: see
    `calibration_error`; None in what earlier commits wrote.
    """

    domain: str
    role: Role
    split: SplitName
    accuracy: float
    loss: float
    count: int
    sharpness: float | None = None
    curvature: float | None = None
    ece: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Scores after `step` updates; `seconds` and `passes` were spent on the run until then."""

    step: int
    scores: tuple[Score, ...]
    seconds: float
    weights: WhichWeights = "iterate"
    passes: float = 0.0

    @property
    def validation(self) -> float:
        """Training-domain validation: unweighted mean accuracy of the source domains' out splits.

        Gulrajani & Lopez-Paz 2021, arXiv 2007.01434, section 3.
        """
        out = [score.accuracy for score in self.source_out()]
        return sum(out) / len(out)

    @property
    def validation_loss(self) -> float:
        """Unweighted mean loss of the source domains' out splits."""
        out = [score.loss for score in self.source_out()]
        return sum(out) / len(out)

    def source_out(self) -> list[Score]:
        """Of the source domains' out splits, which validate."""
        return [s for s in self.scores if s.role == "source" and s.split == "out"]


def parts_of(
    dataset: DomainDataset,
    held_out: str,
    seed: int,
    view: View = as_stored,
    left_out: str | None = None,
) -> list[Part]:
    """Both splits of every domain, which depend on the seed and the domain's index alone.

    held_out: as of Run. Raises ValueError for an unknown domain to hold or leave out, for one too
    small to validate on, and if no domain is left to train on.
    """
    roles: dict[int, Role] = {dataset.index(name): "held_out" for name in members(held_out)}
    if left_out is not None and roles.setdefault(dataset.index(left_out), "left_out") != "left_out":
        raise ValueError(f"{left_out!r} is held out, so no fold can leave it out")
    if len(roles) == len(dataset.domains):
        raise ValueError(
            f"{dataset.name} has no domain to train on without {', '.join(members(held_out))}"
            + ("" if left_out is None else f" and {left_out}")
        )
    parts = []
    for index, domain in enumerate(dataset.domains):
        role = roles.get(index, "source")
        halves = split(len(domain), seed, index)
        if not len(halves.out):
            raise ValueError(
                f"domain {domain.name!r} of {dataset.name} has {len(domain)} samples, "
                f"too few to set a fifth aside for validation: give it at least 5"
            )
        parts.append(Part(domain, role, "in", halves.in_, view))
        parts.append(Part(domain, role, "out", halves.out, view))
    return parts


def evaluate(
    model: nn.Module, parts: Sequence[Part], device: torch.device, batch_size: int | None = None
) -> tuple[Score, ...]:
    """A score for each part, in order; the model is left in the mode it was in.

    batch_size: by default that of `batch_size_for`.
    """
    if batch_size is None:
        batch_size = batch_size_for(parts)
    losses, hits, confidences = [], [], []
    with evaluating(model), torch.inference_mode():
        for x, y in chunks(parts, device, batch_size):
            logits = model(x)
            losses.append(F.cross_entropy(logits.float(), y, reduction="none"))
            hits.append(logits.argmax(1) == y)
            confidences.append(logits.float().softmax(1).amax(1))
    return scores_of(parts, torch.cat(losses), torch.cat(hits), torch.cat(confidences))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode; the model is left in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def scores_of(
    parts: Sequence[Part], losses: Tensor, hits: Tensor, confidences: Tensor
) -> tuple[Score, ...]:
    """A score for each part, in order, of the samples of all parts one after the other.

    losses: cross-entropies, [samples]. hits: whether the prediction is right, [samples].
    confidences: the highest probability, [samples].
    """
    sizes = [len(part.indices) for part in parts]
    loss_of = torch.split(losses.cpu().double(), sizes)
    hits_of = torch.split(hits.cpu(), sizes)
    confidence_of = torch.split(confidences.cpu().double(), sizes)
    return tuple(
        Score(
            part.domain.name,
            part.role,
            part.split,
            int(hit.sum()) / size,
            float(loss.sum()) / size,
            size,
            ece=calibration_error(confidence, hit),
        )
        for part, size, loss, hit, confidence in zip(
            parts, sizes, loss_of, hits_of, confidence_of, strict=True
        )
    )


def calibration_error(confidence: Tensor, hit: Tensor) -> float:
    """Expected calibration error: by how much confidence and accuracy differ, in [0, 1].

    ECE = sum over 15 bins of equal width of (n_b / n) |accuracy_b - mean confidence_b|; NaN where
    a confidence is. confidence: float64 [n], the probability of the likeliest class. hit: bool [n].
    Source: Guo et al., On Calibration of Modern Neural Networks (ICML 2017), equation 3.
    """
    if not confidence.isfinite().all():
        return math.nan
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1  # (0, 1/15], ...
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, hit.double() - confidence)
    return float(gaps.abs().sum()) / len(confidence)


def batch_size_for(parts: Sequence[Part]) -> int:
    """How many samples a model scores at once: 1024, fewer of large images (167 of 224x224)."""
    _, height, width, _ = parts[0].domain.images.shape
    return int(max(16, min(1024, 2**23 // (height * width))))


def chunks(
    parts: Sequence[Part], device: torch.device, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that run across the borders of parts, so that small parts share a pass."""
    blocks: list[Block] = []
    count = 0
    for part in parts:
        taken = 0
        while taken < len(part.indices):
            chosen = part.indices[taken : taken + size - count]
            blocks.append(Block(part.domain, chosen))
            taken, count = taken + len(chosen), count + len(chosen)
            if count == size:
                yield _to_device(blocks, part.view, device)
                blocks, count = [], 0
    if count:
        yield _to_device(blocks, part.view, device)


def _to_device(blocks: Sequence[Block], view: View, device: torch.device) -> tuple[Tensor, Tensor]:
    y = np.concatenate([block.domain.labels[block.rows] for block in blocks])
    return view(blocks, 0, 0, device).run(), torch.from_numpy(y).to(device)


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
