"""Which part of a model trains."""

import pytest
import torch
from torch import nn

import models
from models import lora, tuning
from models.network import Frozen, Network
from tests.models.tiny_models import NAMES, SHAPE, WITH_ATTENTION

SMALL = ["cnn", "resnet18", *NAMES]


def build(name: str, how: str, **values: float) -> Network:
    torch.manual_seed(0)
    network = models.build(name, 5, SHAPE, dropout=0.5)
    tuning.tune(network, how, values)
    return network


def trainable(network: nn.Module) -> list[str]:
    return [name for name, p in network.named_parameters() if p.requires_grad]


def test_full_is_the_model_as_it_was_built() -> None:
    torch.manual_seed(0)
    plain = models.build("timm/test_resnet", 5, SHAPE, dropout=0.5)

    network = build("timm/test_resnet", "full")

    assert trainable(network) == [key for key, _ in plain.named_parameters()]
    assert all(map(torch.equal, network.parameters(), plain.parameters()))


@pytest.mark.parametrize("name", SMALL)
def test_head_trains_the_classifier_alone(name: str) -> None:
    network = build(name, "head").train()
    before = [buffer.clone() for buffer in network.buffers()]

    features = network.featurizer(torch.rand(4, *SHAPE))
    network.classifier(features).sum().backward()

    assert trainable(network) == ["classifier.weight", "classifier.bias"]
    assert not features.requires_grad
    assert (features == 0).any(), "the run's own dropout is still there"
    assert all(map(torch.equal, network.buffers(), before)), "and batch norm is left alone"
    assert not any(m.training for m in network.featurizer[0].modules())


def test_a_head_begins_as_that_of_the_whole_model() -> None:
    for how in ("head", "lora"):
        other = build("timm/test_vit", how).classifier
        assert torch.equal(other.weight, build("timm/test_vit", "full").classifier.weight)


def test_frozen_layers_see_a_batch_once_however_many_passes_there_are() -> None:
    seen = []
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    frozen = Frozen(layer)
    x = torch.rand(4, 3)

    first, second = frozen(x), frozen(x)
    assert len(seen) == 1
    assert torch.equal(first, second)
    frozen(x.clone()), frozen(x)
    assert len(seen) == 3
    x.mul_(2)
    assert torch.equal(frozen(x), layer(x))
    with torch.inference_mode():
        y = torch.rand(2, 3)
        assert torch.equal(frozen(y), layer(y))
    assert torch.equal(frozen(x), layer(x))


@pytest.mark.usefixtures("shallow_vit")
@pytest.mark.parametrize("name", [*WITH_ATTENTION, "vit_b_16"])
def test_lora_begins_where_the_model_is_and_moves_attention_alone(name: str) -> None:
    network, plain = build(name, "lora", lora_rank=3), build(name, "full")
    again = build(name, "lora", lora_rank=3)
    x = torch.rand(4, *SHAPE)

    assert all(map(torch.equal, network.parameters(), again.parameters())), "torch's seed decides"
    torch.testing.assert_close(network.eval()(x), plain.eval()(x))
    network(x).square().sum().backward()

    moved = trainable(network)
    assert moved[-2:] == ["classifier.weight", "classifier.bias"]
    pairs = moved[:-2]
    assert pairs
    assert all("attn" in key or "attention" in key for key in pairs)
    assert all(key.endswith((".0.a", ".0.b")) for key in pairs)
    assert all((p.grad is not None) == p.requires_grad for _, p in network.named_parameters()), (
        "frozen parameters get no gradient, and all others one"
    )
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) < 0.25 * sum(
        p.numel() for p in plain.parameters()
    )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("timm/test_vit", "blocks.0.attn.qkv.weight"),
        ("timm/test_vit", "blocks.0.attn.proj.weight"),
        ("open_clip/tiny", "transformer.resblocks.1.attn.in_proj_weight"),
        ("open_clip/tiny", "transformer.resblocks.1.attn.out_proj.weight"),
        ("open_clip/tiny_resnet", "attnpool.q_proj.weight"),
        ("open_clip/tiny_timm", "trunk.blocks.5.attn.qkv.weight"),
    ],
)
def test_every_matrix_of_an_attention_is_adapted(name: str, path: str) -> None:
    network = models.build(name, 2, SHAPE).featurizer[0]
    paths = {module: where for where, module in network.named_modules()}
    places = {f"{paths[module]}.{matrix}" for module, matrix in lora.places(network)}

    assert path in places


def test_the_matrix_is_that_of_the_paper() -> None:
    layer = nn.Linear(6, 4, bias=False)
    before = layer.weight.detach().clone()
    network = nn.ModuleDict({"attn": layer})
    lora.adapt(network, rank=2, alpha=3.0)
    pair = layer.parametrizations.weight[0]
    with torch.no_grad():
        pair.b.normal_()
    x = torch.rand(5, 6)

    expected = x @ before.T + 3.0 / 2 * (x @ pair.a.T) @ pair.b.T

    torch.testing.assert_close(layer(x), expected)
    assert (pair.a.shape, pair.b.shape) == ((2, 6), (4, 2))
    assert torch.linalg.matrix_rank(layer.weight - before) == 2


def test_the_pairs_begin_at_zero_times_a_normal_draw() -> None:
    torch.manual_seed(0)
    pair = lora.LowRank(torch.zeros(3, 400), rank=50, alpha=1.0)

    assert not pair.b.any()
    assert pair.a.std().item() == pytest.approx(400**-0.5, rel=0.02)


@pytest.mark.parametrize("name", ["cnn", "timm/test_resnet"])
def test_lora_is_refused_where_there_is_no_attention(name: str) -> None:
    with pytest.raises(ValueError, match="lora adapts the matrices of attention, and the model ha"):
        build(name, "lora")


@pytest.mark.parametrize(
    ("how", "values", "message"),
    [
        ("lara", {}, r"unknown tuning: 'lara'; did you mean 'lora'\? there are: full, head, lora"),
        ("lora", {"lora_rank": 0}, "lora_rank must be a whole number from 1, but got 0"),
        ("lora", {"lora_rank": 2.5}, "lora_rank must be a whole number from 1, but got 2.5"),
        ("lora", {"lora_alpha": 0}, "lora_alpha must be above 0, but got 0"),
        ("lora", {"lora_alpha": float("nan")}, "lora_alpha must be above 0, but got nan"),
        ("head", {"lora_rank": 8}, "tuning head has no number 'lora_rank'"),
    ],
)
def test_what_cannot_be_is_refused(how: str, values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("open_clip/tiny", how, **values)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("cnn", "full"),
        *((name, "head") for name in SMALL),
        *((name, "lora") for name in WITH_ATTENTION),
    ],
)
def test_the_state_of_a_tuned_model_is_one_of_the_plain_model(name: str, how: str) -> None:
    network, plain = build(name, how).eval(), build(name, "full").eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) / 10)
    x = torch.rand(3, *SHAPE)

    plain.load_state_dict(tuning.plain_state(network))

    torch.testing.assert_close(plain(x), network(x))
