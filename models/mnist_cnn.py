"""`mnist_cnn`: DomainBed's network for RotatedMNIST and ColoredMNIST."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    """Maps x [N, C, H, W] to features [N, 128]; shape = (C, H, W). 370,560 parameters for C = 1.

    Each convolution's output is rectified first and normalised then, and layers have DomainBed's
    names, so that its weights fit. Source: facebookresearch/DomainBed at b93c22a,
    domainbed/networks.py, MNIST_CNN (Gulrajani & Lopez-Paz 2021, appendix D).
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = shape[0]
    for number, (width, stride) in enumerate(((64, 1), (128, 2), (128, 1), (128, 1))):
        layers[f"conv{number + 1}"] = nn.Conv2d(before, width, 3, stride, padding=1)
        layers[f"relu{number + 1}"] = nn.ReLU()
        layers[f"bn{number}"] = nn.GroupNorm(8, width)
        before = width
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    return nn.Sequential(layers), before
