"""Puts averaged weights in the place of a run's latest ones, for good or for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.averaging import Averaging
from training.passes import Passes
from training.weights import Weights


def put(average: Averaging, weights: Weights, statistics: Sequence[Tensor]) -> None:
    """Puts the averaged weights, and its running statistics if it has any, in place for good.

    statistics: batch norm's, the tensors themselves.
    """
    weights.flat.copy_(average.result())
    averaged = average.statistics
    if averaged is not None:
        parts = torch.split(averaged, [len(own) for own in statistics])
        for own, value in zip(statistics, parts, strict=True):
            own.copy_(value)


@contextmanager
def in_place(
    average: Averaging, model: nn.Module, weights: Weights, statistics: Sequence[Tensor]
) -> Iterator[None]:
    """As `put` for the block; on leaving, weights and buffers are as before."""
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        with weights.displaced():
            put(average, weights, statistics)
            yield
    finally:
        for own, kept in zip(model.buffers(), before, strict=True):
            own.copy_(kept)


def show(
    average: Averaging,
    model: nn.Module,
    weights: Weights,
    statistics: Sequence[Tensor],
    passes: Passes,
) -> None:
    """Shows the averaged network the batch of a step, if it asks for that.

    The model is in training mode. Of an average that moves its running statistics (ERM++).
    """
    if not statistics or not average.sees_batches:
        return
    with in_place(average, model, weights, statistics):
        passes.look()
        average.saw(torch.cat(list(statistics)))
