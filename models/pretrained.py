"""Weights that a featurizer starts from: published ones by name, or a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from models.checkpoints import Checkpoint, Taken
from models.downloads import from_url
from models.entry import nearest
from models.weight_files import contents, some

# Of files of weights.
SUFFIXES = {".bin", ".ckpt", ".pt", ".pth", ".safetensors", ".tar"}


def check(model: str, weights: str, published: Collection[str]) -> tuple[Path, str | None] | None:
    """The file that `weights` names, and the part of it; None for the name of published ones.

    model: name of the model, for messages.
    weights: one of `published`, or the path of a file: what has a slash or a dot in it. Behind
    the path, and #, may stand the part of the file that is meant: last.pt#state_dict_ema.
    published: names of the model's published weights.

    Raises ValueError, with the nearest name, if it is neither a path nor published weights;
    FileNotFoundError if there is no such file.
    """
    if weights in published:
        return None
    path = Path(weights).expanduser()
    if len(path.parts) < 2 and not path.suffix:
        near = nearest(weights, published)
        hint = f"; did you mean {near!r}?" if near else ";"
        there_are = ", ".join((*published, "the path of a file"))
        raise ValueError(f"model {model!r} has no weights {weights!r}{hint} it takes {there_are}")
    part = None
    if not path.is_file() and "#" in weights:
        name, _, part = weights.rpartition("#")
        path = Path(name).expanduser()
    if path.is_dir():
        names = sorted(p.name for p in path.iterdir() if p.suffix in SUFFIXES)
        inside = f"; in it are {some(names)}" if names else ""
        raise FileNotFoundError(
            f"weights of model {model!r}: {path} is a folder; give a file{inside}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"weights of model {model!r}: there is no file {path}")
    return path, part


def load(
    featurizer: nn.Module, model: str, weights: str, published: Mapping[str, str]
) -> Taken | None:
    """Gives the featurizer, which may be on the meta device, the weights.

    featurizer, model, weights: as of `check`.
    published: torchvision's name of each of the model's weights.

    Returns: what was taken of a file; None of published weights.

    Raises as `check`; ValueError if the file cannot be read, does not fit the model (its last layer
    aside), holds it more than once, or holds numbers that are not finite; FileNotFoundError if
    published weights cannot be downloaded.
    """
    given = check(model, weights, published)
    path, part = given or (_fetch(model, weights, published[weights]), None)
    children = [name for name, _ in featurizer.named_children()]
    own, what = featurizer.state_dict(), f"weights of model {model!r} in {path}"
    state, taken = fit(own, Checkpoint(contents(path), own, path, children), what, part)
    featurizer.load_state_dict(state, assign=True)
    return taken if given else None


def fit(
    own: Mapping[str, Tensor],
    checkpoint: Checkpoint,
    what: str,
    part: str | None,
    resize: Callable[[dict[str, Tensor]], None] | None = None,
) -> tuple[dict[str, Tensor], Taken]:
    """The tensors of a checkpoint by the featurizer's own names, in its data types.

    own: the featurizer's tensors; only their shapes and data types matter.
    what: the weights, for messages.
    part: the part of the file that is meant; None for any.
    resize: brings tensors that may have other shapes, by name, to the featurizer's.

    Raises ValueError if they do not fit (the last layer aside), are not finite, or are no weights
    at all (`sound`).
    """
    found = checkpoint.find(what, part, resampled=resize is not None)
    if found.missing or found.strange:
        raise ValueError(found.misfit(what))
    there = dict(found.state)
    if resize is not None:
        resize(there)
    state = {}
    for key, tensor in own.items():
        # Files written before 2018 do not count batches; nothing here reads the count.
        given = there.get(key, torch.zeros(tensor.shape, dtype=tensor.dtype))
        if given.shape != tensor.shape:
            raise ValueError(
                f"the {what} do not fit: {found.taken.dotted(key)} is {list(given.shape)}, "
                f"where the model has {list(tensor.shape)}"
            )
        state[key] = given
    return sound(state, own, found.taken, what)


def sound(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], taken: Taken, what: str
) -> tuple[dict[str, Tensor], Taken]:
    """The tensors in the model's data types, with the types that were converted in `taken`.

    Raises ValueError if a tensor is not finite, or not in the model's data type; if it holds
    integers, as quantised weights do, or is complex or sparse; if a variance is negative; or if
    all of the matrices are zero.
    """
    result, converted = {}, Counter[str]()
    for key, tensor in state.items():
        wanted = own[key].dtype if key in own else tensor.dtype
        name, kind = taken.dotted(key), str(tensor.dtype).removeprefix("torch.")
        if wanted.is_floating_point and (
            not tensor.is_floating_point() or tensor.layout != torch.strided
        ):
            sort = kind if tensor.layout == torch.strided else f"sparse ({kind})"
            raise ValueError(
                f"the {what} cannot be used: {name} is {sort}, where the model has floating-point "
                "numbers; give weights that are not quantised or pruned to a format of their own"
            )
        result[key] = tensor.to(wanted).contiguous()
        if not wanted.is_floating_point:
            continue
        if tensor.dtype != wanted:
            converted[kind] += 1
        bad = tensor.numel() - int(result[key].isfinite().sum())
        if bad:
            raise ValueError(
                f"the {what} are not finite: {name} has {bad} NaN or infinite values among its "
                f"{tensor.numel()}; give weights from before the training went wrong"
            )
        if key.endswith("running_var") and bool((tensor < 0).any()):
            raise ValueError(f"the {what} cannot be used: {name}, a variance, has negative values")
    matrices = [t for t in result.values() if t.is_floating_point() and t.ndim > 1]
    if matrices and not any(bool(t.any()) for t in matrices):
        raise ValueError(f"the {what} cannot be used: all of the model's matrices are zero")
    return result, replace(taken, converted=dict(converted))


def _fetch(model: str, weights: str, name: str) -> Path:
    from torchvision.models import get_weight

    return from_url(get_weight(name).url, f"the weights {weights!r} of model {model!r}")
