"""Models by name. A new one is a file with a featurizer(shape), and an entry here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from models import cnn, mlp
from models.network import Network

__all__ = ["MODELS", "Entry", "Network", "build", "describe"]


@dataclass(frozen=True)
class Entry:
    """A model: its featurizer(shape) -> (module, width of its features), and a sentence on it."""

    featurizer: Callable[[tuple[int, int, int]], tuple[nn.Module, int]]
    sentence: str


MODELS: dict[str, Entry] = {
    "cnn": Entry(cnn.featurizer, "Three convolutions with GroupNorm for images of 8x8 to 32x32."),
    "mlp": Entry(mlp.featurizer, "Two hidden layers of 128, the quickest to train."),
}


def build(name: str, classes: int, shape: tuple[int, int, int], dropout: float = 0.0) -> Network:
    """A model with fresh weights, drawn from torch's global generator.

    Args:
        name: a key of `MODELS`.
        classes: the number of logits.
        shape: (C, H, W) of the images.
        dropout: the chance that a feature is dropped before the classifier in training, as
            DomainBed's `resnet_dropout`; the dropout is the featurizer's last layer.

    Raises:
        ValueError: no model has this name (names the nearest one), dropout is not in [0, 1),
            or the images are too small for the model.
    """
    entry = _entry(name)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), but got {dropout}")
    features, width = entry.featurizer(shape)
    return Network(nn.Sequential(features, nn.Dropout(dropout)), nn.Linear(width, classes))


def describe(name: str) -> str:
    """One sentence on the model.

    Raises:
        ValueError: no model has this name; names the nearest one.
    """
    return _entry(name).sentence


def _entry(name: str) -> Entry:
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"unknown model: {name!r}{hint} there are: {', '.join(MODELS)}")
    return MODELS[name]
