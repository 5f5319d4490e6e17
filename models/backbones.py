"""Featurizers from torchvision: its models for ImageNet without their last linear layer.

Each maps x [N, 3, H, W], normalised as its weights expect (torchvision: ImageNet's mean and
deviation), to features [N, width], and raises ValueError for images it cannot take. torchvision is
imported when the first one is built: it takes as long as torch.
"""

from __future__ import annotations

from torch import nn

from models.entry import Shape


def resnet(name: str, shape: Shape) -> tuple[nn.Module, int]:
    """ResNet-18 or ResNet-50 (He et al. 2016), width 512 or 2048."""
    _check(name, shape, smallest=32)
    import torchvision.models

    network: nn.Module = getattr(torchvision.models, name)()
    return network, _behead(network, "fc")


def convnext_tiny(shape: Shape) -> tuple[nn.Module, int]:
    """ConvNeXt-T (Liu et al. 2022), width 768.

    Without the stochastic depth of its pretraining, so that a run's noise is the dropout it names.
    """
    _check("convnext_tiny", shape, smallest=32)
    import torchvision.models

    network: nn.Module = torchvision.models.convnext_tiny(stochastic_depth_prob=0.0)
    return network, _behead(network, "classifier.2")


def vit_b_16(shape: Shape) -> tuple[nn.Module, int]:
    """ViT-B/16 (Dosovitskiy et al. 2021), width 768; for square images of a multiple of 16."""
    _check("vit_b_16", shape, smallest=16)
    _, height, width = shape
    if height != width or height % 16:
        raise ValueError(
            "model 'vit_b_16' needs square images of a multiple of 16 pixels (224x224 for its "
            f"published weights), but got {height}x{width}"
        )
    import torchvision.models

    network: nn.Module = torchvision.models.vit_b_16(image_size=height)
    return network, _behead(network, "heads.head")


def _check(name: str, shape: Shape, smallest: int) -> None:
    channels, height, width = shape
    if channels != 3:
        raise ValueError(f"model {name!r} needs images of 3 channels, but got {channels}")
    if min(height, width) < smallest:
        raise ValueError(
            f"model {name!r} needs images of at least {smallest}x{smallest}, "
            f"but got {height}x{width}"
        )


def _behead(network: nn.Module, head: str) -> int:
    """Takes off the last linear layer; returns the width of what it was given."""
    last = network.get_submodule(head)
    assert isinstance(last, nn.Linear)
    network.set_submodule(head, nn.Identity())
    return last.in_features
