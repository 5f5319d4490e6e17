"""Settings of torch that hold for a whole process, made for the time of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# TF32, 10 bits of float32's 23 on NVIDIA GPUs: where -> (of products, of convolutions)
TF32 = {
    "none": ("ieee", "ieee"),
    "convolutions": ("ieee", "tf32"),  # torch's own choice
    "all": ("tf32", "tf32"),
}


@contextmanager
def backends(tf32: str = "convolutions", deterministic: bool = False) -> Iterator[None]:
    """In the block float32 may be rounded to TF32 in these places, and kernels may be told to
    give the same bits every time, or to raise RuntimeError where they cannot.

    Raises ValueError for an unknown place.
    """
    if tf32 not in TF32:
        raise ValueError(f"tf32 must be one of {', '.join(TF32)}, but got {tf32!r}")
    products = torch.backends.cuda.matmul
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = products.fp32_precision, convolutions.fp32_precision
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    if deterministic:
        # Read when a GPU is first used for a product; without it cuBLAS raises.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    products.fp32_precision, convolutions.fp32_precision = TF32[tf32]
    torch.use_deterministic_algorithms(deterministic)
    try:
        yield
    finally:
        products.fp32_precision, convolutions.fp32_precision = before
        torch.use_deterministic_algorithms(was_deterministic)
