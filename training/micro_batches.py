"""A batch in pieces, so that a large one fits into a small memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.torch_private import BatchNorm

Forward = Callable[[Tensor], tuple[Tensor, ...]]


def cut(values: Tensor, sizes: Sequence[int], pieces: int) -> list[list[Tensor]]:
    """[N, ...] as `pieces` lists of blocks, one of each domain, whose samples are shared out.

    sizes: samples of each domain, which lie in contiguous blocks. Pieces that would be left
    without a sample are left out.
    """
    domains = [torch.tensor_split(block, pieces) for block in torch.split(values, list(sizes))]
    shares = [list(blocks) for blocks in zip(*domains, strict=True)]
    return [blocks for blocks in shares if any(len(block) for block in blocks)]


def in_pieces(
    forward: Forward, model: nn.Module, x: Tensor, sizes: Sequence[int], pieces: int
) -> tuple[Tensor, ...]:
    """Features, logits and what else comes of x [N, ...], held in full one piece at a time.

    Each piece goes forward again in the backward pass (Chen et al. 2016, arXiv 1604.06174), with
    the same dropout and without a trace in the model's buffers. So whatever is made of the outputs,
    be it the variance of domain losses or a covariance of features, is that of the whole batch,
    and so is its gradient. Batch norm that is not frozen sees one piece at a time.
    """
    blocks = cut(x, sizes, pieces)
    outputs = [
        checkpoint(
            forward, torch.cat(piece), use_reentrant=False, context_fn=lambda: _contexts(model)
        )
        for piece in blocks
    ]
    lengths = [[len(block) for block in piece] for piece in blocks]
    return tuple(_rejoined(column, lengths) for column in zip(*outputs, strict=True))


def _rejoined(pieces: Sequence[Tensor], lengths: Sequence[list[int]]) -> Tensor:
    """Undoes `cut`: the samples of each domain in one block again."""
    blocks = [torch.split(piece, own) for piece, own in zip(pieces, lengths, strict=True)]
    return torch.cat([block for domain in zip(*blocks, strict=True) for block in domain])


def _contexts(
    model: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What the forward runs in, and what it runs in again."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    return nullcontext(), _as_before(model, norms, [norm.track_running_stats for norm in norms])


@contextmanager
def _as_before(
    model: nn.Module, norms: Sequence[BatchNorm], tracked: Sequence[bool]
) -> Iterator[None]:
    """Batch norm tracks its statistics as it did, and forgets what it adds to them."""
    tracks = [norm.track_running_stats for norm in norms]
    buffers = [buffer.clone() for buffer in model.buffers()]
    for norm, did in zip(norms, tracked, strict=True):
        norm.track_running_stats = did
    try:
        yield
    finally:
        for norm, does in zip(norms, tracks, strict=True):
            norm.track_running_stats = does
        for own, before in zip(model.buffers(), buffers, strict=True):
            own.copy_(before)
