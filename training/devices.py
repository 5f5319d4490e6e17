"""The device that a run computes on."""

from __future__ import annotations

import torch

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
