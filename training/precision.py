"""The numbers that forward passes compute with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A block in which products and convolutions are computed in the precision.

    Weights, their gradients, losses and the optimizer stay float32. bf16 has float32's range, so
    no gradient vanishes for lack of a scale: there is no GradScaler, whose factor would have to be
    taken out again between the two passes of a sharpness-aware step.

    Enter it for one pass at a time: inside, torch keeps the weights it has converted, also when
    they are displaced.

    Raises ValueError for an unknown precision.
    """
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise ValueError(f"precision must be one of {known}, but got {precision!r}")
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
