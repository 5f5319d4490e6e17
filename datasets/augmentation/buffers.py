"""Memory for batches on the CPU, used again."""

from __future__ import annotations

import math
import sys
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Buffers:
    """Hands memory out again when nothing refers to it any more.

    The system zeroes fresh memory page by page, which takes half as long as to augment an image
    into it. For one thread at a time.

    keep: how many tensors' memory is kept.
    """

    def __init__(self, keep: int = 3) -> None:
        self._kept: deque[NDArray[np.float32]] = deque(maxlen=keep)

    def take(self, *shape: int) -> Tensor:
        """A float32 tensor of any content."""
        need = math.prod(shape)
        for i in range(len(self._kept)):
            # A tensor made of an array refers to it for as long as any tensor shares its memory.
            if _references(self._kept, i) == UNUSED and need <= self._kept[i].size:
                return torch.from_numpy(self._kept[i][:need].reshape(shape))
        array = np.empty(need, np.float32)
        self._kept.append(array)
        return torch.from_numpy(array.reshape(shape))


def _references(arrays: deque[NDArray[np.float32]], i: int) -> int:
    return sys.getrefcount(arrays[i])


# What an array counts that only a deque refers to.
UNUSED = _references(deque([np.empty(0, np.float32)]), 0)
