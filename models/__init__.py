"""Models by name. A new one is a file with a featurizer(shape), and an entry here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from models import backbones, cnn, mlp, pretrained
from models.network import Network

__all__ = ["MODELS", "Entry", "Network", "build", "check_weights", "describe"]


@dataclass(frozen=True)
class Entry:
    """A model.

    featurizer  (C, H, W) -> the module, and the width of its features
    sentence    what it is
    published   names of weights it may start from, and torchvision's names of them
    """

    featurizer: Callable[[tuple[int, int, int]], tuple[nn.Module, int]]
    sentence: str
    published: Mapping[str, str] = field(default_factory=dict)


MODELS: dict[str, Entry] = {
    "cnn": Entry(cnn.featurizer, "Three convolutions with GroupNorm for images of 8x8 to 32x32."),
    "mlp": Entry(mlp.featurizer, "Two hidden layers of 128, the quickest to train."),
    "resnet18": Entry(
        backbones.resnet18,
        "ResNet-18 (He et al. 2016), 11 million parameters.",
        {"imagenet": "ResNet18_Weights.IMAGENET1K_V1"},
    ),
    "resnet50": Entry(
        backbones.resnet50,
        "ResNet-50 (He et al. 2016), 24 million parameters, the field's standard.",
        {
            "imagenet": "ResNet50_Weights.IMAGENET1K_V1",  # those of the published tables
            "imagenet_v2": "ResNet50_Weights.IMAGENET1K_V2",
        },
    ),
    "convnext_tiny": Entry(
        backbones.convnext_tiny,
        "ConvNeXt-T (Liu et al. 2022), 28 million parameters.",
        {"imagenet": "ConvNeXt_Tiny_Weights.IMAGENET1K_V1"},
    ),
    "vit_b_16": Entry(
        backbones.vit_b_16,
        "ViT-B/16 (Dosovitskiy et al. 2021), 86 million parameters.",
        {"imagenet": "ViT_B_16_Weights.IMAGENET1K_V1"},
    ),
}


def build(
    name: str,
    classes: int,
    shape: tuple[int, int, int],
    dropout: float = 0.0,
    weights: str | None = None,
) -> Network:
    """A model whose fresh weights are drawn from torch's global generator.

    Args:
        name: a key of `MODELS`.
        classes: the number of logits.
        shape: (C, H, W) of the images.
        dropout: the chance that a feature is dropped before the classifier in training, as
            DomainBed's `resnet_dropout`; the dropout is the featurizer's last layer.
        weights: what the featurizer starts from: None for fresh weights; the name of published
            ones, which are downloaded into torch.hub's cache, once; or the path of a state dict,
            of the featurizer or of a whole model, whose last layer is then left out.

    Raises:
        ValueError: no model has this name or such weights (names the nearest one), dropout is not
            in [0, 1), the model cannot take such images, or the weights do not fit the model.
        FileNotFoundError: the weights are neither on this machine nor can they be downloaded.
    """
    entry = _entry(name)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), but got {dropout}")
    if weights is None:
        features, width = entry.featurizer(shape)
    else:
        with torch.device("meta"):  # no numbers: to draw them takes longer than to load them
            features, width = entry.featurizer(shape)
        pretrained.load(features, name, weights, entry.published)
    return Network(nn.Sequential(features, nn.Dropout(dropout)), nn.Linear(width, classes))


def check_weights(name: str, weights: str) -> None:
    """Whether the model can be asked to start from the weights; reads and downloads nothing.

    Raises:
        ValueError: no model has this name or published weights of that name; names the nearest.
        FileNotFoundError: the weights are a path where there is no file.
    """
    pretrained.check(name, weights, _entry(name).published)


def describe(name: str) -> str:
    """One sentence on the model, and the names of its published weights.

    Raises:
        ValueError: no model has this name; names the nearest one.
    """
    entry = _entry(name)
    if not entry.published:
        return entry.sentence
    return f"{entry.sentence} Weights: {', '.join(entry.published)}."


def _entry(name: str) -> Entry:
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"unknown model: {name!r}{hint} there are: {', '.join(MODELS)}")
    return MODELS[name]
