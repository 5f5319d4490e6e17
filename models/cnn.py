"""`cnn`: three convolutions, for digits and other small images."""

from __future__ import annotations

from torch import nn


def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    """Maps x [N, C, H, W] to features [N, 64]; shape = (C, H, W). About 36,000 parameters.

    GroupNorm (Wu & He, 2018) rather than BatchNorm: a sample's features depend on that sample
    alone, so the second pass of a sharpness-aware step leaves no trace in running statistics.

    Raises ValueError if images have fewer than 5 pixels in height or width.
    """
    channels, height, width = shape
    if min(height, width) < 5:
        raise ValueError(f"model 'cnn' needs images of at least 5x5, but got {height}x{width}")
    return nn.Sequential(
        # A stride from the first layer on: on one core, time goes by the size of these maps.
        *_block(channels, 32, kernel=5, stride=2, padding=2),
        *_block(32, 64, kernel=3, stride=2, padding=1),
        *_block(64, 64, kernel=2, stride=1, padding=0),  # joins the 2x2 map of an 8x8 image
        nn.AdaptiveAvgPool2d(1),  # of size 1 it is a mean, deterministic on a GPU too
        nn.Flatten(),
    ), 64


def _block(
    channels: int, width: int, *, kernel: int, stride: int, padding: int
) -> tuple[nn.Module, ...]:
    # No bias: the GroupNorm that follows has one.
    return (
        nn.Conv2d(channels, width, kernel, stride, padding, bias=False),
        nn.GroupNorm(8, width),
        nn.ReLU(),
    )
