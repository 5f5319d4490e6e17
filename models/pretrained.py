"""Weights that a featurizer starts from: published ones by name, or a file."""

from __future__ import annotations

import difflib
import fcntl
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

# Names of the layer that is left out: torchvision's, and Network's own.
HEADS = ("fc.", "heads.", "classifier.")
# What stands before the featurizer's own names: nothing in a file of torchvision's or of the bare
# featurizer, the others where a Network, or its featurizer with the dropout, was saved.
PREFIXES = ("", "0.", "featurizer.0.")


def check(model: str, weights: str, published: Mapping[str, str]) -> Path | None:
    """The file that `weights` names; None if they are the name of published ones.

    Args:
        model: name of the model, for messages.
        weights: a key of `published`, or the path of a file: what has a slash or a dot in it.
        published: torchvision's name of each of the model's weights.

    Raises:
        ValueError: neither a path nor a name of published weights; names the nearest one.
        FileNotFoundError: no such file.
    """
    if weights in published:
        return None
    path = Path(weights).expanduser()
    if len(path.parts) < 2 and not path.suffix:
        near = difflib.get_close_matches(weights, published, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        there_are = ", ".join((*published, "the path of a file"))
        raise ValueError(f"model {model!r} has no weights {weights!r}{hint} it takes {there_are}")
    if not path.is_file():
        raise FileNotFoundError(f"weights of model {model!r}: there is no file {path}")
    return path


def load(featurizer: nn.Module, model: str, weights: str, published: Mapping[str, str]) -> None:
    """Gives the featurizer, which may be on the meta device, the weights.

    Args: as those of `check`.

    Raises:
        ValueError: as `check`; or the file is unreadable, or does not fit the model but for its
            last layer (names what is missing, unexpected, or of another shape).
        FileNotFoundError: no such file, or the published one is not on this machine and cannot be
            downloaded (names both).
    """
    path = check(model, weights, published) or _fetch(model, weights, published[weights])
    state = _fit(featurizer.state_dict(), _read(path), f"weights of model {model!r} in {path}")
    featurizer.load_state_dict(state, assign=True)


def _fetch(model: str, weights: str, name: str) -> Path:
    """The file in torch.hub's cache, downloaded if it is not there, by one process at a time."""
    from torchvision.models import get_weight

    url: str = get_weight(name).url
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if path.is_file():
        return path
    checksum = path.stem.rpartition("-")[2]  # torchvision's files end in their first digits
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{path}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            if not path.is_file():
                torch.hub.download_url_to_file(url, str(path), checksum, progress=False)
    except (OSError, RuntimeError) as error:  # RuntimeError: the checksum is another
        raise FileNotFoundError(
            f"cannot download the weights {weights!r} of model {model!r} ({error}): "
            f"get {url} from elsewhere and put it at {path}, or give its path as `weights`"
        ) from error
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"cannot read weights from {path}: it must be a state dict, written by "
            "torch.save(model.state_dict(), path), and whole"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        kind = _some(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(
            f"cannot read weights from {path}: it must be a state dict, a mapping from names to "
            f"tensors, but it holds {kind}"
        )
    return dict(state)


def _fit(own: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The given tensors by the featurizer's own names, in its data types."""

    def missing(prefix: str) -> list[str]:
        # Files written before 2018 do not count batches; nothing here reads the count.
        return [
            key
            for key in own
            if prefix + key not in given and not key.endswith(".num_batches_tracked")
        ]

    prefix = min(PREFIXES, key=lambda p: len(missing(p)))
    known = {prefix + key for key in own}
    unexpected = [key for key in given if key not in known and not key.startswith(HEADS)]
    problems = [
        f"{problem} {_some(keys)}"
        for problem, keys in (("missing:", missing(prefix)), ("unexpected:", unexpected))
        if keys
    ]
    if problems:
        raise ValueError(f"the {what} do not fit: {'; '.join(problems)}")
    state = {}
    for key, tensor in own.items():
        found = given.get(prefix + key, torch.zeros(tensor.shape))
        if found.shape != tensor.shape:
            raise ValueError(
                f"the {what} do not fit: {prefix + key} is {list(found.shape)}, "
                f"where the model has {list(tensor.shape)}"
            )
        state[key] = found.to(tensor.dtype)
    return state


def _some(names: Iterable[str], most: int = 5) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
