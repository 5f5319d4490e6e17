from __future__ import annotations

import pytest
import torch

from training import optimizers


def start() -> torch.Tensor:
    return torch.linspace(-1, 1, 50, dtype=torch.float64)


def gradient(weights: torch.Tensor, step: int) -> torch.Tensor:
    return weights.sin() * step


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("name", "plain", "options"),
    [
        ("adam", torch.optim.Adam, {}),
        ("adamw", torch.optim.AdamW, {}),
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
        # torch takes it without dampening only, which is the momentum that is here.
        *(("sgd", torch.optim.SGD, {"momentum": m, "nesterov": True}) for m in (0.5, 0.9, 0.999)),
    ],
)
def test_steps_are_those_of_torchs_plain_loops(name, plain, options, weight_decay):
    weights, twin = start(), start()
    fused = optimizers.build(name, weights, 0.01, weight_decay, **options)
    looped = plain([twin], lr=0.01, weight_decay=weight_decay, foreach=False, **options)

    for step, lr in enumerate((0.01, 0.01, 0.02, 0.0, 0.005, 0.01), 1):
        fused.lr = looped.param_groups[0]["lr"] = lr
        fused.step(gradient(weights, step))
        twin.grad = gradient(twin, step)
        looped.step()

    torch.testing.assert_close(weights, twin, rtol=1e-12, atol=1e-12)


def test_nesterov_needs_a_momentum():
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        optimizers.build("sgd", start(), 0.1, 0.0, nesterov=True)


def test_sgd_without_momentum_remembers_nothing():
    weights = start()
    plain = optimizers.build("sgd", weights, 0.1, 0.0)

    plain.step(torch.ones(50, dtype=torch.float64))

    torch.testing.assert_close(weights, start() - 0.1)
    assert plain.state == {}


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_a_step_leaves_the_gradient_as_it_was(name):
    weights = start()
    given = gradient(weights, 1)
    before = given.clone()

    optimizers.build(name, weights, 0.1, 0.1, momentum=0.9).step(given)

    assert torch.equal(given, before)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown optimizer 'lion'; there are: adam, adamw, sgd"):
        optimizers.build("lion", start(), 0.1, 0.0)


@pytest.mark.parametrize("number", ["lr", "weight_decay", "momentum"])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_a_number_below_zero_is_refused_by_name(number, value):
    numbers = {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.0, number: value}

    with pytest.raises(ValueError, match=f"{number} must not be negative, but got {value}"):
        optimizers.build("adam", start(), **numbers)
