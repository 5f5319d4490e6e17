"""Weights that a featurizer starts from: published ones by name, or a file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from models.downloads import from_url
from models.nearest import nearest
from models.weight_files import read, some

# Names of the layer that is left out: torchvision's, and Network's own.
HEADS = ("fc.", "heads.", "classifier.")
# What stands before the featurizer's own names: nothing in a file of torchvision's or of the bare
# featurizer, the others where a Network, or its featurizer with the dropout, was saved.
PREFIXES = ("", "0.", "featurizer.0.")


def check(model: str, weights: str, published: Collection[str]) -> Path | None:
    """The file that `weights` names; None if they are the name of published ones.

    Args:
        model: name of the model, for messages.
        weights: one of `published`, or the path of a file: what has a slash or a dot in it.
        published: names of the model's published weights.

    Raises:
        ValueError: neither a path nor a name of published weights; names the nearest one.
        FileNotFoundError: no such file.
    """
    if weights in published:
        return None
    path = Path(weights).expanduser()
    if len(path.parts) < 2 and not path.suffix:
        near = nearest(weights, published)
        hint = f"; did you mean {near!r}?" if near else ";"
        there_are = ", ".join((*published, "the path of a file"))
        raise ValueError(f"model {model!r} has no weights {weights!r}{hint} it takes {there_are}")
    if not path.is_file():
        raise FileNotFoundError(f"weights of model {model!r}: there is no file {path}")
    return path


def load(featurizer: nn.Module, model: str, weights: str, published: Mapping[str, str]) -> None:
    """Gives the featurizer, which may be on the meta device, the weights.

    Args:
        featurizer, model, weights: as of `check`.
        published: torchvision's name of each of the model's weights.

    Raises:
        ValueError: as `check`; or the file is unreadable, or does not fit the model but for its
            last layer (names what is missing, unexpected, or of another shape).
        FileNotFoundError: no such file, or the published one is not on this machine and cannot be
            downloaded (names both).
    """
    path = check(model, weights, published) or _fetch(model, weights, published[weights])
    state = fit(featurizer.state_dict(), read(path), f"weights of model {model!r} in {path}")
    featurizer.load_state_dict(state, assign=True)


def fit(own: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The given tensors by the featurizer's own names, in its data types.

    Raises:
        ValueError: they do not fit, but for the last layer; `what` they are is in the message.
    """

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
        f"{problem} {some(keys)}"
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


def bare(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict by the featurizer's own names, if a Network or its featurizer was saved."""
    for prefix in PREFIXES[:0:-1]:
        found = {k.removeprefix(prefix): v for k, v in given.items() if k.startswith(prefix)}
        if found:
            return found
    return dict(given)


def _fetch(model: str, weights: str, name: str) -> Path:
    from torchvision.models import get_weight

    return from_url(get_weight(name).url, f"the weights {weights!r} of model {model!r}")
