"""Files of weights, read without running code from them."""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

DIGEST = 32  # bytes of a sha256: before a text head, or the checkpoint of a trial of Steppe


class Unbuilt:
    """Stands for any object of a checkpoint that is neither a tensor nor a plain value.

    Such are the arguments of a training script (argparse.Namespace, which DomainBed, timm, DINO and
    MAE save) and numpy's scalars. None of their code runs, and none of their content is kept.
    """

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __new__(cls, *_: object, **__: object) -> Unbuilt:
        """Takes whatever arguments the file gives."""
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass


def contents(path: Path) -> Any:
    """What a file holds, on the CPU: of torch.save anything, of safetensors a mapping to tensors.

    torch.load reads it with weights_only; what that would refuse to build becomes `Unbuilt`.

    Raises ValueError if it is no such file, is cut short, or cannot be read without running code
    from it.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        unbuilt: list[Any] = [(Unbuilt, name) for name in _classes(path)]
        if not unbuilt:
            return torch.load(path, map_location="cpu", weights_only=True)
        with torch.serialization.safe_globals(unbuilt):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        SafetensorError,
        # Of damaged bytes, which the unpickler takes for whatever they look like:
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        UnicodeDecodeError,
        ValueError,
    ) as error:
        raise ValueError(f"cannot read weights from {path}: {_reason(path, error)}") from error


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict that torch.save or safetensors has written, on the CPU.

    Raises ValueError if the file is not a whole state dict.
    """
    state = contents(path)
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(
            f"cannot read weights from {path}: it must be a state dict, a mapping from names to "
            f"tensors, but it holds {held(state)}"
        )
    return dict(state)


def held(content: object) -> str:
    """What a file holds, in few words."""
    if isinstance(content, Unbuilt):
        return "one object of a class of its own, as torch.save(model, path) writes it"
    return some(map(str, content)) if isinstance(content, Mapping) else type(content).__name__


def some(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _classes(path: Path) -> list[str]:
    """Classes and functions named in a file of torch.save that torch.load would not build."""
    if zipfile.is_zipfile(path):
        with suppress(ValueError):  # TorchScript, of which torch.load says what it is
            return torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
        return []
    # The format before torch 1.6, which many published files have: a row of pickles, of which the
    # fourth is what was saved. torch asks its own list of safe names first.
    with path.open("rb") as file:
        names = []
        for _ in range(4):
            for code, argument, _ in pickletools.genops(file):
                if code.name == "GLOBAL":
                    names.append(str(argument).replace(" ", ".", 1))
    return names


def _reason(path: Path, error: Exception) -> str:
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
        return (
            "it is a checkpoint of one of Steppe's trials, whose tensors have no names; give the "
            "file in the run's weights/ (search.keep_weights) or the model.safetensors of an export"
        )
    if "TorchScript" in str(error):
        return (
            "it is a TorchScript archive; where you trust it, make a state dict of it: "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pt')"
        )
    refused = isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path)
    if refused and "PytorchStreamReader" not in str(error):
        return (
            "it must be a state dict or a checkpoint with one, and this one holds objects that "
            "cannot be read without running code from the file; where you trust it, take the state "
            f"dict out: torch.save(torch.load({path.name!r}, weights_only=False)['KEY'], "
            "'weights.pt'), KEY being state_dict, model_dict or as the script calls it"
        )
    return (
        "it must be a state dict, written by torch.save(model.state_dict(), path) or as "
        ".safetensors, or a checkpoint with one, and whole"
    )
