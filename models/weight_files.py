"""Files of weights, read without running code from them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict that torch.save or safetensors has written, on the CPU.

    Raises:
        ValueError: the file is no whole state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, SafetensorError) as error:
        raise ValueError(
            f"cannot read weights from {path}: it must be a state dict, written by "
            "torch.save(model.state_dict(), path) or as .safetensors, and whole"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        kind = some(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(
            f"cannot read weights from {path}: it must be a state dict, a mapping from names to "
            f"tensors, but it holds {kind}"
        )
    return dict(state)


def some(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
