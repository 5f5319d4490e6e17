"""How a run is computed: device, precision, settings of torch, and torch.compile."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

DEVICES = ("cpu", "cuda", "mps")


def device_of(name: str) -> torch.device:
    """The device. Raises ValueError for an unknown one, or one that this machine lacks."""
    if name not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, but got {name!r}")
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[name]:
        raise ValueError(f"device is {name!r}, but torch finds none on this machine; use cpu")
    return torch.device(name)


def device_name(name: str) -> str:
    """What the device is called: a GPU by its model."""
    return torch.cuda.get_device_name() if name == "cuda" else name


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


# TF32, 10 bits of float32's 23 on NVIDIA GPUs: where -> (of products, of convolutions)
TF32 = {
    "none": ("ieee", "ieee"),
    "convolutions": ("ieee", "tf32"),  # torch's own choice
    "all": ("tf32", "tf32"),
}


@contextmanager
def backends(tf32: str = "convolutions", deterministic: bool = False) -> Iterator[None]:
    """Sets how float32 is rounded and whether kernels are deterministic, for the block.

    tf32: where float32 may be rounded to TF32, a key of `TF32`. deterministic: kernels give the
    same bits every time, or raise RuntimeError where they cannot.

    Raises ValueError for an unknown place.
    """
    if tf32 not in TF32:
        raise ValueError(f"tf32 must be one of {', '.join(TF32)}, but got {tf32!r}")
    before = rounding()
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    if deterministic:
        # Read when a GPU is first used for a product; without it cuBLAS raises.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    _set_rounding(*TF32[tf32])
    _set_deterministic(deterministic)
    try:
        yield
    finally:
        _set_rounding(*before)
        _set_deterministic(was_deterministic)


# Before 2.9 torch has flags, allow_tf32; a newer one warns of their use.
HAS_FLAGS = not hasattr(torch.backends.cudnn, "conv")


def rounding() -> tuple[str, str]:
    """How float32 is rounded now: in products, in convolutions; "ieee" or "tf32"."""
    products, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if HAS_FLAGS:
        flags = products.allow_tf32, cudnn.allow_tf32
        return "tf32" if flags[0] else "ieee", "tf32" if flags[1] else "ieee"
    return products.fp32_precision, cudnn.conv.fp32_precision  # type: ignore[attr-defined]


def _set_rounding(products: str, convolutions: str) -> None:
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    if HAS_FLAGS:
        cuda.matmul.allow_tf32 = products == "tf32"
        cudnn.allow_tf32 = convolutions == "tf32"
    else:
        cuda.matmul.fp32_precision = products
        cudnn.conv.fp32_precision = convolutions  # type: ignore[attr-defined]


def _set_deterministic(wanted: bool) -> None:
    # The call imports torch's compiler, which takes more than a second: only for a change.
    if wanted != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(wanted)


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
