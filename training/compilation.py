"""torch.compile, where it works."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

log = logging.getLogger("steppe")

MOST_LETTERS = 400  # of a reason


def compiled(featurizer: nn.Module, x: Tensor) -> nn.Module:
    """The featurizer compiled, or with a warning in the log as it is, if that fails.

    x [N, C, H, W]: a batch such as it will see, on which a pass is tried: only that shows whether
    there is a compiler. Weights, their gradients and all buffers stay as they are.
    """
    buffers = [buffer.clone() for buffer in featurizer.buffers()]
    try:
        candidate: nn.Module = torch.compile(featurizer)  # type: ignore[assignment]
        candidate(x).sum().backward()
    except Exception as error:  # a compiler may fail in any way
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:MOST_LETTERS]
        log.warning("torch.compile failed, the run goes on without it: %s", reason)
        return featurizer
    finally:
        featurizer.zero_grad(set_to_none=True)
        for own, before in zip(featurizer.buffers(), buffers, strict=True):
            own.copy_(before)
    return candidate
