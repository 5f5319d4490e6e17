"""Models by name. A new one is a file with a featurizer(shape), and an entry here."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from models.entry import (
    IMAGENET,
    Colours,
    Embed,
    Entry,
    Family,
    Shape,
    Texts,
    later,
    nearest,
    require,
    require_name,
)

if TYPE_CHECKING:
    from models.network import Network
    from models.text_head import TextFeatures

__all__ = [
    "FAMILIES",
    "MODELS",
    "Entry",
    "Texts",
    "build",
    "check",
    "colours",
    "describe",
    "names",
    "outline",
    "published",
    "text_features",
    "text_tower",
    "weights_file",
]


MODELS: dict[str, Entry] = {
    "cnn": Entry(
        later("cnn.featurizer"), "Three convolutions with GroupNorm for images of 8x8 to 32x32."
    ),
    "mlp": Entry(later("mlp.featurizer"), "Two hidden layers of 128, the quickest to train."),
    "mnist_cnn": Entry(
        later("mnist_cnn.featurizer"),
        "DomainBed's network for RotatedMNIST and ColoredMNIST (Gulrajani & Lopez-Paz 2021).",
    ),
    "resnet18": Entry(
        partial(later("backbones.resnet"), "resnet18"),
        "ResNet-18 (He et al. 2016), 11 million parameters.",
        {"imagenet": "ResNet18_Weights.IMAGENET1K_V1"},
    ),
    "resnet50": Entry(
        partial(later("backbones.resnet"), "resnet50"),
        "ResNet-50 (He et al. 2016), 24 million parameters, the field's standard.",
        {
            "imagenet": "ResNet50_Weights.IMAGENET1K_V1",  # those of the published tables
            "imagenet_v2": "ResNet50_Weights.IMAGENET1K_V2",
        },
    ),
    "convnext_tiny": Entry(
        later("backbones.convnext_tiny"),
        "ConvNeXt-T (Liu et al. 2022), 28 million parameters.",
        {"imagenet": "ConvNeXt_Tiny_Weights.IMAGENET1K_V1"},
    ),
    "vit_b_16": Entry(
        later("backbones.vit_b_16"),
        "ViT-B/16 (Dosovitskiy et al. 2021), 86 million parameters.",
        {"imagenet": "ViT_B_16_Weights.IMAGENET1K_V1"},
    ),
}


# Models of other libraries, `timm/resnet50`, by what stands before the slash.
FAMILIES: dict[str, Family] = {
    "timm": Family(
        package="timm",
        extra="timm",
        sentence="Any image model of timm, without its classifier.",
        names=later("timm_models.names"),
        published=later("timm_models.published"),
        colours=later("timm_models.colours"),
        featurizer=later("timm_models.featurizer"),
    ),
    "open_clip": Family(
        package="open_clip",
        extra="clip",
        sentence="The image tower of any model of open_clip: CLIP, SigLIP, EVA, ...",
        names=later("clip_towers.names"),
        published=later("clip_towers.published"),
        colours=later("clip_towers.colours"),
        featurizer=later("clip_towers.featurizer"),
        embed=later("clip_towers.embed"),
    ),
}


def build(
    name: str,
    classes: int | Texts,
    shape: Shape,
    dropout: float = 0.0,
    weights: str | None = None,
    load: bool = True,
) -> Network:
    """A model whose fresh weights are drawn from torch's global generator.

    name: a key of `MODELS`, or `family/name` with a key of `FAMILIES`.
    classes: the number of logits, of a linear layer that is drawn; or what a text head is made of,
    which then takes features of length 1.
    shape: (C, H, W) of the images.
    dropout: the chance that a feature is dropped before the classifier in training, as
    DomainBed's `resnet_dropout`; the dropout is the featurizer's last layer.
    weights: what the featurizer starts from: None for fresh weights; the name of published
    ones, which are downloaded into the cache of torch.hub or of the Hugging Face hub,
    once; or the path of a file that has the featurizer in it, alone or in a whole model,
    whose last layer is then left out, under whatever prefix (models.checkpoints); with
    #PART behind it where the file has more than one.
    load: False leaves the weights unread: the model is the one that they are for, its own
    weights fresh.

    Raises as `check`, `pretrained.load` and `text_features`; ValueError if dropout is not in [0, 1)
    or the model cannot take such images.
    """
    import torch
    from torch import nn

    from models import pretrained
    from models.family import width
    from models.network import Network
    from models.text_head import Normalised, TextHead

    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), but got {dropout}")
    family, own_name = _family(name)
    taken = None
    if family is not None:
        wide = width(name, family, shape)
        features, taken = family.featurizer(own_name, shape, weights, load)
    else:
        entry = MODELS[name]
        if weights is None or not load:
            features, wide = entry.featurizer(shape)
        else:
            with torch.device("meta"):  # no numbers: to draw them takes longer than to load them
                features, wide = entry.featurizer(shape)
            taken = pretrained.load(features, name, weights, entry.published)
    layers = nn.Sequential(features, nn.Dropout(dropout))
    if isinstance(classes, int):
        return Network(layers, nn.Linear(wide, classes), colours(name, weights), taken)
    known = text_features(name, weights, classes) if load else None
    head = TextHead(wide, len(classes.classes), known).requires_grad_(not classes.fixed)
    return Network(layers.append(Normalised()), head, colours(name, weights), taken)


def text_tower(name: str, weights: str | None) -> Embed:
    """What embeds sentences for the model with these weights; loads nothing before it is called.

    Raises as `check`; ValueError if it has no text tower, or no weights.
    """
    family, own_name = _family(name)
    if family is None or family.embed is None:
        raise ValueError(
            f"model {name!r} has no text tower; choose a model open_clip/NAME or head: linear"
        )
    if weights is None:
        raise ValueError(
            "model.weights is not given, and with random weights texts say nothing of images; give "
            "weights or head: linear"
        )
    return partial(family.embed, own_name, weights)


def text_features(name: str, weights: str | None, texts: Texts) -> TextFeatures:
    """The unit vector of each class in the space of the model's features.

    Raises as `text_tower`; ValueError, FileNotFoundError or ModuleNotFoundError if weights or
    tokenizer cannot be loaded, or lack what texts need.
    """
    from models.text_head import features_of

    embed = text_tower(name, weights)
    file = None if weights is None else weights_file(name, weights)
    stamp = () if file is None else (file.absolute(), file.stat().st_size, file.stat().st_mtime_ns)
    library = import_module(FAMILIES[name.partition("/")[0]].package)
    return features_of(embed, texts, (name, weights, library.__version__, *stamp))


def outline(name: str, shape: Shape = (3, 224, 224)) -> Network:
    """The model for two classes without numbers, on torch's meta device: quick to look at.

    Raises as `build`.
    """
    import torch

    with torch.device("meta"):
        return build(name, 2, shape)


def colours(name: str, weights: str | None) -> Colours:
    """How the model with these weights wants photographs. Raises as `check`."""
    family, own_name = _family(name)
    return IMAGENET if family is None else family.colours(own_name, weights)


def check(name: str) -> None:
    """Whether there is such a model.

    Raises ValueError, with the nearest name, if there is none; ModuleNotFoundError if its library
    is not installed.
    """
    _family(name)


def weights_file(name: str, weights: str) -> Path | None:
    """The file that a model's weights are in; None of published ones. Reads and downloads nothing.

    Raises as `check`; ValueError, with the nearest name, if there are no such published weights;
    FileNotFoundError if they are a path where there is no file.
    """
    known = published(name)
    if weights in known:
        return None
    from models import pretrained

    file = pretrained.check(name, weights, known)
    return None if file is None else file[0]


def names(family: str) -> tuple[str, ...]:
    """The models of one of `FAMILIES`, as `build` takes them.

    Raises ModuleNotFoundError if its library is not installed.
    """
    require(FAMILIES[family], family)
    return tuple(f"{family}/{own_name}" for own_name in FAMILIES[family].names())


def published(name: str) -> tuple[str, ...]:
    """Names of the weights that the model may start from. Raises as `check`."""
    family, own_name = _family(name)
    return tuple(MODELS[name].published if family is None else family.published(own_name))


def describe(name: str) -> str:
    """One sentence on the model, and the names of its published weights.

    Raises as `check`.
    """
    family, _ = _family(name)
    sentence = MODELS[name].sentence if family is None else family.sentence
    weights = published(name)
    return f"{sentence} Weights: {', '.join(weights)}." if weights else sentence


def _family(name: str) -> tuple[Family | None, str]:
    """The family of a model and its name in there; None if it is one of `MODELS`."""
    if name in MODELS:
        return None, name
    prefix, slash, own_name = name.partition("/")
    if slash and prefix in FAMILIES:
        require(FAMILIES[prefix], name)
        require_name(FAMILIES[prefix], name, own_name)
        return FAMILIES[prefix], own_name
    if slash:
        near = nearest(prefix, FAMILIES)
        likely = near and f"{near}/{own_name}"
    else:
        likely = nearest(name, MODELS)
    hint = f"; did you mean {likely!r}?" if likely else ";"
    there_are = ", ".join((*MODELS, *(f"{family}/NAME" for family in FAMILIES)))
    raise ValueError(f"unknown model: {name!r}{hint} there are: {there_are}")
