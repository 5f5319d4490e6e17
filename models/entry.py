"""What the registry knows of models and their heads before torch is imported."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.checkpoints import Taken

PROMPT = "a photo of a {}."
PLACE = "{}"
Shape = tuple[int, int, int]  # (C, H, W) of an image
Three = tuple[float, float, float]
# Sentences -> their embeddings [n, width], not normalised, and the temperature's logarithm.
Embed = Callable[[Sequence[str]], "tuple[Tensor, float]"]


@dataclass(frozen=True)
class Colours:
    """How a featurizer wants photographs: each colour's values are (x / 255 - mean) / deviation."""

    mean: Three
    deviation: Three


IMAGENET = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Entry:
    """A model.

    featurizer  (C, H, W) -> the module, and the width of its features
    sentence    what it is
    published   names of weights it may start from, and torchvision's names of them
    """

    featurizer: Callable[[Shape], tuple[nn.Module, int]]
    sentence: str
    published: Mapping[str, str] = field(default_factory=dict)


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


def later(place: str) -> Callable[..., Any]:
    """A function of `models`, such as `cnn.featurizer`, imported when it is first called.

    With it comes torch, which takes seconds that commands who only read need not wait for.
    """
    module, _, name = place.partition(".")

    def call(*args: Any) -> Any:
        return getattr(import_module(f"models.{module}"), name)(*args)

    return call


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


@dataclass(frozen=True)
class Texts:
    """What the texts of a head are made of.

    classes: names of the classes, as the dataset has them. prompts: sentences with {} in the place
    of a class. fixed: whether the head does not train.
    """

    classes: tuple[str, ...]
    prompts: tuple[str, ...] = (PROMPT,)
    fixed: bool = False

    @property
    def sentences(self) -> list[str]:
        """All prompts of the first class, then of the second, and so on; `_` becomes a space."""
        names = [name.replace("_", " ") for name in self.classes]
        return [prompt.replace(PLACE, name) for name in names for prompt in self.prompts]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, whatever its case; None if none is like it.

    As in datasets.spelling, but for names that differ in signs alone: neither folder imports the
    other.
    """
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[close[0]] if close else None
