from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from training import optimizers

TORCH: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
}


def start() -> torch.Tensor:
    return torch.linspace(-1, 1, 50, dtype=torch.float64)


def gradient(weights: torch.Tensor, step: int) -> torch.Tensor:
    return weights.sin() * step


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_steps_are_those_of_torchs_plain_loops(name, weight_decay):
    weights, twin = start(), start()
    fused = optimizers.build(name, weights, 0.01, weight_decay, momentum=0.9)
    plain, options = TORCH[name]
    looped = plain([twin], lr=0.01, weight_decay=weight_decay, foreach=False, **options)

    for step in range(1, 6):
        fused.step(gradient(weights, step))
        twin.grad = gradient(twin, step)
        looped.step()

    torch.testing.assert_close(weights, twin, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_a_learning_rate_set_between_steps_acts_as_in_torch(name):
    weights, twin = start(), start()
    fused = optimizers.build(name, weights, 0.01, 0.1, momentum=0.9)
    plain, options = TORCH[name]
    looped = plain([twin], lr=0.01, weight_decay=0.1, foreach=False, **options)

    for step, lr in enumerate((0.01, 0.02, 0.0, 0.005), 1):
        fused.lr = looped.param_groups[0]["lr"] = lr
        fused.step(gradient(weights, step))
        twin.grad = gradient(twin, step)
        looped.step()

    torch.testing.assert_close(weights, twin, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.999])
def test_nesterovs_steps_are_torchs(momentum, weight_decay):
    """torch takes it without dampening only, which is the momentum that is here."""
    weights, twin = start(), start()
    ours = optimizers.build("sgd", weights, 0.01, weight_decay, momentum, nesterov=True)
    torchs = torch.optim.SGD(
        [twin], 0.01, momentum, 0.0, weight_decay, nesterov=True, foreach=False
    )

    for step, lr in enumerate((0.01, 0.02, 0.0, 0.005, 0.01), 1):
        ours.lr = torchs.param_groups[0]["lr"] = lr
        ours.step(gradient(weights, step))
        twin.grad = gradient(twin, step)
        torchs.step()

    torch.testing.assert_close(weights, twin, rtol=0, atol=1e-12)


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
