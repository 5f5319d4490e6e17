"""VaSSO and F-SAM: what a climb follows instead of the gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.toy import Toy, batch
from tests.training.toy_steps import direction_of, run_of, step_of
from training.algorithms.fsam import FSAM
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.algorithms.vasso import VaSSO
from training.composition import compose
from training.outputs import Outputs, mean_loss
from training.update import Step, direction


@pytest.mark.parametrize("part", [VaSSO(1.0), FSAM(0.0, 0.6)], ids=repr)
def test_a_climb_that_follows_the_newest_gradient_alone_is_sams(part):
    followed = run_of(Toy(), part, SAM(0.5), steps=4, sizes=(4, 4))

    plain = run_of(Toy(), SAM(0.5), steps=4, sizes=(4, 4))

    torch.testing.assert_close(followed, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("part", "name", "followed", "remembered"),
    [
        (VaSSO(0.3), "VaSSO", lambda g, m: 0.7 * m + 0.3 * g, lambda g, m: 0.7 * m + 0.3 * g),
        (FSAM(0.8, 0.6), "F-SAM", lambda g, m: g - 0.8 * m, lambda g, m: 0.6 * m + 0.4 * g),
    ],
    ids=["VaSSO", "F-SAM"],
)
def test_the_climb_goes_rho_along_what_is_followed(part, name, followed, remembered):
    step = step_of(Toy(), 4, 4)
    before = step.weights.flat.clone()
    mean = step.memory[name] = torch.randn_like(before)
    gradient = direction_of(step)
    climbs: list[Tensor] = []

    def objective(outputs: Outputs, of_step: Step) -> Tensor:
        climbs.append(step.weights.flat - before)
        return mean_loss(outputs)

    direction(replace(compose([part, SAM(0.5)]), objective=objective), step)

    along = followed(gradient, mean)
    torch.testing.assert_close(climbs[1], 0.5 * along / along.norm(), rtol=1e-6, atol=0)
    torch.testing.assert_close(step.remembered[name], remembered(gradient, mean))
    assert step.memory[name] is mean


def test_the_gradient_that_is_combined_stays_as_it_was():
    step, plain = step_of(Toy(), 4, 4), step_of(Toy(), 4, 4)
    step.memory["F-SAM"] = torch.randn_like(step.weights.flat)

    combined = direction_of(step, FSAM(), SAGM(0.0, 0.0))

    torch.testing.assert_close(combined, direction_of(plain))


def test_what_is_remembered_outlives_the_gradient_of_its_step():
    """Gradients are written into the same memory in every step."""
    step = step_of(Toy(), 4, 4)
    gradient = direction_of(step)
    for part in (VaSSO(), FSAM()):
        direction(compose([part, SAM()]), step)
    step.passes.over(batch(3, 3)).gradient(mean_loss)

    for kept in step.remembered.values():
        assert torch.equal(kept, gradient)
