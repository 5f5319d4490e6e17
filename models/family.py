"""Models that another library has by the hundred, each called `family/name`."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from models.entry import Family, Shape
from models.torch_private import Dropout


@cache  # a sweep file, the rehearsal and each trial ask again, and to look takes up to a second
def width(model: str, family: Family, shape: Shape) -> int:
    """Width of the features that a model makes of images (C, H, W), found without numbers.

    Raises ValueError if it cannot take such images.
    """
    channels, height, across = shape
    if channels != 3:
        raise ValueError(f"model {model!r} needs images of 3 channels, but got {channels}")
    try:
        with torch.device("meta"), torch.no_grad():
            featurizer, _ = family.featurizer(model.partition("/")[2], shape, None, False)
            features = featurizer.eval()(torch.empty(2, *shape))
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
