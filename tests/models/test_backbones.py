"""torchvision's models as featurizers."""

import pytest
import torch
import torchvision.models
from torch import nn

import models
from models.network import freeze_batch_norm


@pytest.mark.usefixtures("shallow_vit")
def test_features_are_what_torchvisions_last_layer_is_given() -> None:
    for name, head in (
        ("resnet18", "fc"),
        ("convnext_tiny", "classifier.2"),
        ("vit_b_16", "heads.head"),
    ):
        torch.manual_seed(0)
        options = {"image_size": 32} if name == "vit_b_16" else {}
        whole = getattr(torchvision.models, name)(**options).eval()
        given = []
        whole.get_submodule(head).register_forward_hook(
            lambda module, inputs, output, given=given: given.append(inputs[0])
        )
        torch.manual_seed(0)
        network = models.build(name, 3, (3, 32, 32)).eval()
        x = torch.rand(2, 3, 32, 32)

        with torch.no_grad():
            whole(x)
            assert torch.equal(network.featurizer(x), given[0]), name


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet18", 512), ("resnet50", 2048), ("convnext_tiny", 768), ("vit_b_16", 768)],
)
def test_the_classifier_is_as_wide_as_the_features(name: str, width: int) -> None:
    with torch.device("meta"):
        assert models.build(name, 65, (3, 224, 224)).classifier.in_features == width


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "convnext_tiny"])
def test_images_smaller_than_the_strides_are_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"'{name}' needs images of at least 32x32, but got 28x64"
    ):
        models.build(name, 2, (3, 28, 64))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "convnext_tiny", "vit_b_16"])
def test_images_of_other_than_three_channels_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"'{name}' needs images of 3 channels, but got 1"):
        models.build(name, 2, (1, 64, 64))


@pytest.mark.parametrize(("height", "width"), [(224, 208), (100, 100)])
def test_a_vit_refuses_images_that_do_not_fall_into_its_patches(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"square images of a multiple of 16.*{height}x{width}"):
        models.build("vit_b_16", 2, (3, height, width))


def test_frozen_batch_norm_is_left_as_it_is_and_its_weights_still_learn() -> None:
    torch.manual_seed(0)
    network = models.build("resnet18", 2, (3, 32, 32)).train()
    freeze_batch_norm(network)
    before = [buffer.clone() for buffer in network.buffers()]
    x = torch.rand(4, 3, 32, 32)

    network(x).sum().backward()

    assert len(before) == 3 * 20
    assert all(map(torch.equal, network.buffers(), before))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.weight.grad.abs().sum() > 0 for norm in norms)
    torch.testing.assert_close(network(x[:1]), network(x)[:1])


def test_training_mode_thaws_batch_norm() -> None:
    norm = nn.BatchNorm2d(3)
    freeze_batch_norm(norm)
    assert not norm.training
    assert norm.train().training
