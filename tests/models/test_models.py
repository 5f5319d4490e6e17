"""What holds for every registered model, and for each alone."""

import pytest
import torch
from torch import nn

import models
from models.network import Network

NAMES = list(models.MODELS)
SHAPES = [(1, 8, 8), (3, 8, 8), (3, 16, 12), (4, 32, 32)]


def weights(network: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(network.parameters())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_have_a_column_for_each_class(name: str, shape: tuple[int, int, int]) -> None:
    network = models.build(name, classes=7, shape=shape)
    assert network(torch.rand(5, *shape)).shape == (5, 7)
    assert network(torch.rand(1, *shape)).shape == (1, 7)


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_is_one_linear_layer_on_the_features(name: str) -> None:
    network = models.build(name, 10, (1, 8, 8))
    assert isinstance(network, Network)
    assert isinstance(network.classifier, nn.Linear)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(network(x), network.classifier(network.featurizer(x)))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_come_featurizer_first_and_classifier_last(name: str) -> None:
    network = models.build(name, 10, (1, 8, 8))
    parts = [*network.featurizer.parameters(), *network.classifier.parameters()]
    assert [id(p) for p in network.parameters()] == [id(p) for p in parts]


@pytest.mark.parametrize("name", NAMES)
def test_weights_follow_from_torchs_seed(name: str) -> None:
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(weights(models.build(name, 10, (1, 8, 8))))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", NAMES)
def test_dropout_drops_features_in_training_only(name: str) -> None:
    torch.manual_seed(0)
    network = models.build(name, 10, (1, 8, 8), dropout=0.5)
    x = torch.rand(64, 1, 8, 8)
    kept = network.eval().featurizer(x)
    dropped = network.train().featurizer(x)
    survived = dropped != 0
    torch.testing.assert_close(dropped[survived], 2 * kept[survived])
    assert (survived.sum() / (kept != 0).sum()).item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_changes_neither_the_weights_nor_their_names(name: str) -> None:
    states = []
    for dropout in (0.0, 0.5):
        torch.manual_seed(0)
        states.append(models.build(name, 10, (1, 8, 8), dropout).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_classified_alone_and_leaves_nothing_behind(name: str) -> None:
    network = models.build(name, 10, (1, 8, 8)).double()
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64)
    together = network(x)
    assert not list(network.buffers())
    torch.testing.assert_close(torch.cat([network(x[i : i + 1]) for i in range(6)]), together)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    network = models.build(name, 10, (3, 16, 16))
    loss = nn.functional.cross_entropy(network(torch.rand(8, 3, 16, 16)), torch.arange(8))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    for (key, _), gradient in zip(network.named_parameters(), gradients, strict=True):
        assert gradient.abs().sum() > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_every_model_is_described_in_a_sentence(name: str) -> None:
    assert models.describe(name).endswith(".")


@pytest.mark.parametrize("shape", SHAPES)
def test_cnn_stays_small(shape: tuple[int, int, int]) -> None:
    assert 20_000 < len(weights(models.build("cnn", 10, shape))) < 60_000


def test_cnn_refuses_images_that_its_layers_would_use_up() -> None:
    models.build("cnn", 10, (1, 5, 5))(torch.rand(1, 1, 5, 5))
    with pytest.raises(ValueError, match="'cnn' needs images of at least 5x5, but got 8x4"):
        models.build("cnn", 10, (1, 8, 4))


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_dropout_outside_its_range_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), but got"):
        models.build("mlp", 10, (1, 8, 8), dropout)


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"unknown model: 'cnm'; did you mean 'cnn'\?"):
        models.build("cnm", 10, (1, 8, 8))
    with pytest.raises(ValueError, match=r"unknown model: 'resnet50'; there are: cnn, mlp"):
        models.describe("resnet50")
