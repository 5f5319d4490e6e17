"""Models that another library has by the hundred, each called `family/name`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from models.checkpoints import Taken
from models.network import Colours, Shape, nearest
from models.torch_private import Dropout


@dataclass(frozen=True)
class Family:
    """The image models of a library that need not be installed.

    package    the library
    extra      Steppe's extra that installs it
    sentence   what they are
    names      of all models
    published  name -> names of the weights that it may start from
    colours    name, weights or None -> what the featurizer expects
    featurizer name, (C, H, W), weights or None, whether to load them -> the module, and what was
               taken of a file; ValueError and FileNotFoundError as of models.build
    embed      name, weights, sentences -> their embeddings [n, width] in the features' space, not
               normalised, and the logarithm of the temperature; None without text towers
    """

    package: str
    extra: str
    sentence: str
    names: Callable[[], Sequence[str]]
    published: Callable[[str], Sequence[str]]
    colours: Callable[[str, str | None], Colours]
    featurizer: Callable[[str, Shape, str | None, bool], tuple[nn.Module, Taken | None]]
    embed: Callable[[str, str, Sequence[str]], tuple[Tensor, float]] | None = None


def require(family: Family, model: str) -> None:
    """Raises ModuleNotFoundError if the library is not there."""
    if find_spec(family.package) is None:
        raise ModuleNotFoundError(
            f"model {model!r} needs {family.package}, which is not installed: "
            f"pip install '.[{family.extra}]'"
        )


def require_name(family: Family, model: str, name: str) -> None:
    """Raises ValueError if the library has no such model; names the nearest one."""
    names = family.names()
    if name not in names:
        near = nearest(name, names)
        prefix = model.removesuffix(name)
        hint = f"; did you mean {prefix + near!r}?" if near else ""
        if "." in name and name.partition(".")[0] in names:
            bare, _, weights = name.partition(".")
            hint = f"; write name: {prefix}{bare} and weights: {weights}"
        raise ValueError(
            f"{family.package} has no model {name!r}{hint} ({len(names)} names: "
            f"`python -m search models {prefix.rstrip('/')}`)"
        )


def width(model: str, featurizer: Callable[[], nn.Module], shape: Shape) -> int:
    """Width of the features that a featurizer makes of images (C, H, W), found without numbers.

    Raises ValueError if it cannot take such images.
    """
    channels, height, across = shape
    if channels != 3:
        raise ValueError(f"model {model!r} needs images of 3 channels, but got {channels}")
    try:
        with torch.device("meta"), torch.no_grad():
            features = featurizer().eval()(torch.empty(2, *shape))
    except Exception as error:  # each of a thousand models fails in its own way
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(
            f"model {model!r} cannot take images of {height}x{across}; set dataset.size to what it "
            f"was made for ({reason})"
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise ValueError(f"model {model!r} does not give one vector of features for each image")
    return int(features.shape[1])


def without_chance(network: nn.Module) -> nn.Module:
    """The network without dropout and stochastic depth of its pretraining.

    So that a run's noise is the dropout that it names.
    """
    for module in network.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
        for name in ("drop_rate", "drop_prob"):  # of timm's models, and of its DropPath
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return network
