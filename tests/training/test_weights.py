from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn

from tests.training.toy import Toy, batch
from training.weights import LARGE, Weights


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


def test_channels_last_parameters_keep_values_and_layout_and_their_gradients_have_it_too():
    torch.manual_seed(0)
    layout = {"memory_format": torch.channels_last}
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).to(**layout)
    x = torch.randn(2, 3, 8, 8).to(**layout)
    before = [(parameter.clone(), parameter.stride()) for parameter in model.parameters()]
    gradients = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))

    weights = Weights(model)
    filled = weights.gradients("any").fill(0, model(x).square().sum())

    own = zip(model.parameters(), weights.views(weights.flat), before, strict=True)
    for parameter, view, (old, stride) in own:
        assert parameter.stride() == stride
        assert torch.equal(parameter, old)
        assert torch.equal(view, old)
    torch.testing.assert_close(weights.views(filled), list(gradients))


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


def backwards() -> nn.Module:
    model = nn.Module()
    model.classifier, model.featurizer = nn.Linear(2, 2), nn.Linear(2, 2)
    return model


def mixed() -> nn.Module:
    model = Toy()
    model.classifier.float()
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (mixed(), "one data type and device"),
        (Toy().requires_grad_(False), "no trainable parameter"),
        (backwards(), "classifier's parameters must come last"),
    ],
    ids=["mixed types", "frozen", "backwards"],
)
def test_a_model_that_is_refused_keeps_its_parameters(model, message):
    storages = [parameter.data_ptr() for parameter in model.parameters()]

    with pytest.raises(ValueError, match=message):
        Weights(model)

    assert [parameter.data_ptr() for parameter in model.parameters()] == storages


def test_displaced_weights_are_restored_bit_for_bit_also_when_an_exception_passes():
    weights = Weights(Toy(dtype=torch.float32))
    before = weights.flat.clone()

    with suppress(KeyboardInterrupt), weights.displaced() as saved:
        weights.flat.fill_(float("nan"))
        assert torch.equal(saved, before)
        raise KeyboardInterrupt

    assert torch.equal(weights.flat, before)


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


class Wide(nn.Module):
    """Parameters of which two are large enough to be moved by themselves, and a tied one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.featurizer = nn.Sequential(
            nn.Linear(4, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 256)
        )
        self.classifier = nn.Linear(256, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = self.featurizer[2]
        return self.classifier(middle(torch.tanh(middle(torch.tanh(self.featurizer[0](x))))))


def wide() -> tuple[Wide, Weights, torch.Tensor]:
    model = Wide()
    assert [p.numel() for p in model.parameters()].count(LARGE) == 2
    return model, Weights(model), torch.randn(8, 4)


def test_gradients_of_large_parameters_are_in_their_place_and_leave_nothing_on_the_model():
    model, weights, x = wide()
    expected = torch.autograd.grad(model(x).sum(), weights.parameters, materialize_grads=True)
    room = weights.gradients("any")
    room.matrix.fill_(7)

    for _ in range(2):
        gradient = room.fill(0, model(x).sum())

        for view, gradient_of_one in zip(weights.views(gradient), expected, strict=True):
            torch.testing.assert_close(view, gradient_of_one)
    assert weights.views(gradient)[4].eq(0).all()  # the large one that plays no part
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_sum_of_values_has_the_sum_of_their_gradients():
    model, weights, x = wide()
    room = weights.gradients("any")
    expected = room.fill(0, model(x).sum() + model.featurizer(2 * x).sum()).clone()

    values = (value() for value in (lambda: model(x).sum(), lambda: model.featurizer(2 * x).sum()))

    torch.testing.assert_close(room.sum(0, values), expected)
    assert room.sum(0, ()).eq(0).all()


def test_filling_overwrites_what_another_backward_pass_left_on_the_model():
    model, weights, x = wide()
    expected = weights.gradients("any").fill(0, model(x).sum()).clone()
    model(3 * x).sum().backward()

    assert torch.equal(weights.gradients("any").fill(0, model(x).sum()), expected)


def test_a_backward_pass_that_fails_leaves_nothing_on_the_model():
    model, weights, x = wide()
    value = model(x).sum()
    value.backward()

    with pytest.raises(RuntimeError, match="second time"):
        weights.gradients("any").fill(0, value)

    assert all(parameter.grad is None for parameter in model.parameters())
    model(x).sum().backward()
    assert model.featurizer[2].weight.grad is not None
