"""What holds for every model, of a family too, and for the small ones."""

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import nn

import models
from models.network import Network, freeze_batch_norm
from tests.models import tiny_models

pytestmark = pytest.mark.usefixtures("shallow_vit")

OF_FAMILIES = tiny_models.NAMES
NAMES = [*models.MODELS, *OF_FAMILIES]
SMALL = ["cnn", "mlp", "mnist_cnn"]
SHAPES = [(1, 8, 8), (3, 8, 8), (3, 16, 12), (4, 32, 32)]


def shape_of(name: str) -> tuple[int, int, int]:
    """Small images that the model takes."""
    return (1, 8, 8) if name in SMALL else (3, 32, 32)


@cache
def built(name: str) -> Network:
    """A model to look at; batch norm is frozen, for most tests are not about it."""
    torch.manual_seed(0)
    network = models.build(name, 10, shape_of(name))
    freeze_batch_norm(network)
    return network


@pytest.fixture(scope="module", autouse=True)
def _let_go() -> Iterator[None]:
    """Of half a gigabyte, at the end."""
    yield
    built.cache_clear()


def weights(network: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(network.parameters())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_logits_have_a_column_for_each_class(name: str, shape: tuple[int, int, int]) -> None:
    network = models.build(name, classes=7, shape=shape)
    assert network(torch.rand(5, *shape)).shape == (5, 7)
    assert network(torch.rand(1, *shape)).shape == (1, 7)


@pytest.mark.parametrize("name", NAMES)
def test_the_classifier_is_one_linear_layer_on_the_features(name: str) -> None:
    network = built(name)
    assert isinstance(network, Network)
    assert isinstance(network.classifier, nn.Linear)
    x = torch.rand(3, *shape_of(name))
    logits = network(x)
    assert logits.shape == (3, 10)
    assert torch.equal(logits, network.classifier(network.featurizer(x)))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_come_featurizer_first_and_classifier_last_and_are_named_so(name: str) -> None:
    network = built(name)
    parts = [*network.featurizer.parameters(), *network.classifier.parameters()]
    assert [id(p) for p in network.parameters()] == [id(p) for p in parts]
    prefixes = [key.split(".")[0] for key, _ in network.named_parameters()]
    assert list(dict.fromkeys(prefixes)) == ["featurizer", "classifier"]


@pytest.mark.parametrize("name", [*SMALL, "resnet18"])  # the seed is the builder's affair
def test_another_seed_gives_other_weights(name: str) -> None:
    torch.manual_seed(1)
    other = models.build(name, 10, shape_of(name))
    assert not torch.equal(weights(other), weights(built(name)))


@pytest.mark.parametrize("name", [*SMALL, "resnet18", *OF_FAMILIES])
def test_dropout_drops_features_in_training_and_leaves_the_weights_to_torchs_seed(
    name: str,
) -> None:
    torch.manual_seed(0)
    network = models.build(name, 10, shape_of(name), dropout=0.5)
    assert network.state_dict().keys() == built(name).state_dict().keys()
    assert torch.equal(weights(network), weights(built(name)))

    x = torch.rand(16, *shape_of(name))
    with torch.no_grad():
        kept = network.eval().featurizer(x)
        network.train()
        freeze_batch_norm(network)
        dropped = network.featurizer(x)
    survived = dropped != 0
    torch.testing.assert_close(dropped[survived], 2 * kept[survived])
    assert (survived.sum() / (kept != 0).sum()).item() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("name", NAMES)
def test_without_dropout_training_is_free_of_chance(name: str) -> None:
    network = built(name)
    x = torch.rand(2, *shape_of(name))
    with torch.no_grad():
        assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_is_classified_alone_and_leaves_nothing_behind(name: str) -> None:
    network = models.build(name, 10, (1, 8, 8)).double()
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64)
    together = network(x)
    assert not list(network.buffers())
    torch.testing.assert_close(torch.cat([network(x[i : i + 1]) for i in range(6)]), together)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str) -> None:
    network = built(name)
    x = torch.rand(4, *shape_of(name))
    loss = nn.functional.cross_entropy(network(x), torch.arange(4))
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    for (key, _), gradient in zip(network.named_parameters(), gradients, strict=True):
        assert gradient.isfinite().all(), key
        # The residual branches of the families' end in weights that begin at 0.
        assert gradient.abs().sum() > 0 or name.endswith("_resnet"), key


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_is_described_with_the_weights_it_may_start_from(name: str) -> None:
    description = models.describe(name)
    assert description.endswith(".")
    assert all(weights in description for weights in models.MODELS[name].published)


@pytest.mark.parametrize("shape", SHAPES)
def test_cnn_stays_small(shape: tuple[int, int, int]) -> None:
    assert 20_000 < len(weights(models.build("cnn", 10, shape))) < 60_000


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("cnn", (1, 8, 4), "needs images of at least 5x5, but got 8x4"),
        ("resnet18", (3, 28, 64), "needs images of at least 32x32, but got 28x64"),
        ("convnext_tiny", (3, 28, 64), "needs images of at least 32x32, but got 28x64"),
        ("vit_b_16", (3, 224, 208), "needs square images of a multiple of 16.*224x208"),
        ("vit_b_16", (3, 100, 100), "needs square images of a multiple of 16.*100x100"),
        ("timm/test_vit", (3, 40, 40), "cannot take images of 40x40; set dataset.size"),
        *(
            (name, (1, 64, 64), "needs images of 3 channels, but got 1")
            for name in NAMES
            if name not in SMALL
        ),
    ],
)
def test_images_that_a_model_cannot_take_are_refused(
    name: str, shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=f"'{name}' {message}"):
        models.build(name, 2, shape)


def test_cnn_takes_images_of_5x5() -> None:
    models.build("cnn", 10, (1, 5, 5))(torch.rand(1, 1, 5, 5))


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_dropout_outside_its_range_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), but got"):
        models.build("mlp", 10, (1, 8, 8), dropout)
