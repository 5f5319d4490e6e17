"""Feature maps by name of every family of models."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import models
from models import feature_maps
from models.feature_maps import FeatureMaps, layers
from tests.models.tiny_models import NAMES, SHAPE

STAGES = ["layer1", "layer2", "layer3", "layer4"]
LARGE = (3, 224, 224)


def maps_of(name: str, shape: tuple[int, int, int]) -> dict[str, tuple[int, ...]]:
    network = models.outline(name, shape)
    maps = FeatureMaps(network.featurizer)
    network(torch.empty(2, *shape, device="meta"))
    return {own: tuple(seen.shape[1:]) for own, seen in zip(maps.names, maps.take(), strict=True)}


PYRAMID = [(96, 56, 56), (96, 56, 56), (192, 28, 28), (384, 14, 14), (768, 7, 7)]
RESNET = [(64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
REGNET = [(32, 112, 112), (24, 56, 56), (56, 28, 28), (152, 14, 14), (368, 7, 7)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", RESNET),
        ("convnext_tiny", PYRAMID),
        ("vit_b_16", [(768, 14, 14), *[(768, 197)] * 4]),
        ("open_clip/RN50", RESNET),
        ("open_clip/ViT-B-16", [(768, 14, 14), *[(768, 197)] * 4]),
        ("timm/regnety_002", REGNET),
        ("timm/swin_tiny_patch4_window7_224", PYRAMID),
        ("timm/vit_small_patch16_dinov3", [(384, 14, 14), *[(384, 201)] * 4]),
    ],
)
def test_stem_and_stages_are_those_of_the_released_code(name, expected):
    assert list(maps_of(name, LARGE).values()) == expected


def test_a_transformers_stages_end_at_its_quarters():
    assert list(layers(models.outline("open_clip/ViT-B-16").featurizer))[1:] == [
        f"transformer.resblocks.{block}" for block in (2, 5, 8, 11)
    ]
    assert list(layers(models.outline("resnet18").featurizer))[1:] == STAGES


@pytest.mark.parametrize("name", [*NAMES, "cnn", "mlp"])
def test_maps_are_those_of_each_sample_and_of_passes_with_gradients(name):
    shape = SHAPE if "/" in name else (3, 8, 8)
    network = models.build(name, 3, shape).eval()
    maps = FeatureMaps(network.featurizer, stem=False)
    x = torch.rand(3, *shape)
    network.featurizer(x)
    whole = maps.take()
    network.featurizer(x[:1])

    for one, seen in zip(maps.take(), whole, strict=True):
        torch.testing.assert_close(one, seen[:1])
        assert one.requires_grad
    with torch.no_grad():
        network(x)
    assert maps.take() == ()


def test_layers_that_give_no_map_are_refused():
    bare = nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh()), nn.Dropout())
    with pytest.raises(ValueError, match="no layers"):
        layers(bare)
    for name in ("timm/vgg11", "timm/xcit_nano_12_p16_224"):  # changed in place; several
        with pytest.raises(ValueError, match="stays as it is"):
            feature_maps.check(models.outline(name), LARGE)
