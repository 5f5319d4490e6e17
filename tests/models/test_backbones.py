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
