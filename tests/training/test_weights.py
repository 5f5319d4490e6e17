from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.toy import Toy, batch
from training.weights import Weights


def test_parameters_keep_their_values_and_become_views_of_one_vector():
    model = Toy()
    before = [parameter.clone() for parameter in model.parameters()]

    weights = Weights(model)

    assert torch.equal(weights.flat, torch.cat([p.reshape(-1) for p in before]))
    weights.flat.add_(1)
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old + 1)


def test_order_is_that_of_the_models_parameters_and_the_featurizer_comes_first():
    model = Toy()
    weights = Weights(model)

    weights.flat.zero_()
    weights.flat[weights.featurizer] = 1

    assert weights.names == [name for name, _ in model.named_parameters()]
    assert all(parameter.eq(1).all() for parameter in model.featurizer.parameters())
    assert all(parameter.eq(0).all() for parameter in model.classifier.parameters())


def test_channels_last_parameters_keep_their_values_and_their_layout():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)).to(
        memory_format=torch.channels_last
    )
    before = [(parameter.clone(), parameter.stride()) for parameter in model.parameters()]

    weights = Weights(model)

    for parameter, view, (old, stride) in zip(
        model.parameters(), weights.views(weights.flat), before, strict=True
    ):
        assert parameter.stride() == stride
        assert torch.equal(parameter, old)
        assert torch.equal(view, old)


def test_views_of_a_row_stay_within_the_row():
    weights = Weights(Toy())
    rows = torch.zeros(3, len(weights.flat), dtype=torch.float64)

    for view in weights.views(rows[1]):
        view.fill_(1)

    assert rows.sum(1).tolist() == [0, len(weights.flat), 0]


def test_frozen_parameters_are_left_alone():
    model = Toy()
    frozen = model.featurizer[0].weight.requires_grad_(False)
    storage = frozen.data_ptr()

    weights = Weights(model)

    assert frozen.data_ptr() == storage
    assert "featurizer.0.weight" not in weights.names
    assert len(weights.flat) == sum(p.numel() for p in model.parameters()) - frozen.numel()
    assert weights.featurizer == slice(0, model.featurizer[0].bias.numel())


def test_a_frozen_featurizer_leaves_no_weights_to_the_featurizer():
    model = Toy()
    model.featurizer.requires_grad_(False)

    assert Weights(model).featurizer == slice(0, 0)


def test_a_parameter_used_in_two_places_is_counted_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight

    weights = Weights(model)
    weights.flat.fill_(2)

    assert len(weights.flat) == 16
    assert model[0].weight.eq(2).all()
    assert model[1].weight.eq(2).all()


def test_mixed_data_types_are_refused():
    model = Toy()
    model.classifier.float()

    with pytest.raises(ValueError, match="one data type and device"):
        Weights(model)


def test_a_model_without_trainable_parameters_is_refused():
    with pytest.raises(ValueError, match="no trainable parameter"):
        Weights(Toy().requires_grad_(False))


def test_a_classifier_before_the_featurizer_is_refused():
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Linear(2, 2)
            self.featurizer = nn.Linear(2, 2)

    with pytest.raises(ValueError, match="classifier's parameters must come last"):
        Weights(Backwards())


def test_a_refused_model_keeps_its_parameters():
    model = Toy()
    model.classifier.float()
    storage = model.featurizer[0].weight.data_ptr()

    with pytest.raises(ValueError, match="data type"):
        Weights(model)

    assert model.featurizer[0].weight.data_ptr() == storage


def test_displaced_weights_are_restored_bit_for_bit():
    weights = Weights(Toy(dtype=torch.float32))
    before = weights.flat.clone()

    with weights.displaced() as saved:
        weights.flat.mul_(1.1).add_(0.3)
        assert torch.equal(saved, before)

    assert torch.equal(weights.flat, before)


def test_displaced_weights_are_restored_when_an_exception_passes():
    weights = Weights(Toy())
    before = weights.flat.clone()

    def interrupted() -> None:
        with weights.displaced():
            weights.flat.fill_(float("nan"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert torch.equal(weights.flat, before)


def test_a_filled_row_is_the_gradient_in_the_order_of_the_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).to(
        memory_format=torch.channels_last
    )
    weights = Weights(model)
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    expected = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))

    gradient = weights.gradients("any").fill(0, model(x).square().sum())

    for view, gradient_of_one in zip(weights.views(gradient), expected, strict=True):
        torch.testing.assert_close(view, gradient_of_one)


def test_a_parameter_that_does_not_matter_has_a_gradient_of_zero():
    model = Toy()
    weights = Weights(model)

    gradient = weights.gradients("any").fill(0, model.featurizer(batch(2).x).sum())

    assert gradient[weights.featurizer].abs().sum() > 0
    assert gradient[weights.featurizer.stop :].eq(0).all()


def test_rows_do_not_touch_each_other_and_are_written_afresh_each_time():
    model = Toy()
    weights = Weights(model)
    x = batch(2).x
    first = weights.gradients("any", 2).fill(0, model(x).sum()).clone()

    weights.gradients("any", 2).fill(1, 2 * model(x).sum())
    weights.gradients("any", 2).fill(1, 3 * model(x).sum())

    rows = weights.gradients("any", 2).matrix
    assert torch.equal(rows[0], first)
    torch.testing.assert_close(rows[1], 3 * first)
    assert all(parameter.grad is None for parameter in model.parameters())
