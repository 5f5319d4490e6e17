from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.toy import Toy
from tests.training.toy_steps import step_of
from training import algorithms
from training.clipping import clipped
from training.update import Update, direction


def final_gradient(update: Update) -> torch.Tensor:
    return direction(update, step_of(Toy(), 8, 8))[0].clone()


@pytest.mark.parametrize("algorithm", ["ERM", "SAM", "SAGM", "DISAM+GSAM", "GGA-L"])
@pytest.mark.parametrize("norm", [0.01, 100.0])
def test_the_final_gradient_is_shortened_as_torch_does_it(algorithm, norm):
    update = algorithms.build(algorithm, {})
    whole = final_gradient(update)
    parameter = nn.Parameter(torch.zeros_like(whole))
    parameter.grad = whole.clone()
    nn.utils.clip_grad_norm_([parameter], norm)

    short = final_gradient(clipped(update, norm))

    torch.testing.assert_close(short, parameter.grad, rtol=1e-12, atol=1e-12)
    assert torch.equal(short, whole) == (norm == 100.0)


def test_the_climb_is_as_long_as_without():
    """SAGM's alpha multiplies the raw gradient: shortened, it would climb farther."""
    raised = algorithms.build("SAGM", {"rho": 0.1, "alpha": 0.5})

    short = final_gradient(clipped(raised, 0.01))

    whole = final_gradient(raised)
    torch.testing.assert_close(short / short.norm(), whole / whole.norm())


@pytest.mark.parametrize("norm", [0.0, -1.0, float("nan")])
def test_a_norm_that_is_not_above_zero_is_refused(norm):
    with pytest.raises(ValueError, match=f"clip_norm must be above 0, but got {norm}"):
        clipped(Update(), norm)
