"""VaSSO and F-SAM: what a climb follows instead of the gradient."""

from __future__ import annotations

import torch

from tests.training.toy import Toy, batch
from tests.training.toy_steps import direction_of, step_of
from training.algorithms.fsam import FSAM
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.algorithms.vasso import VaSSO
from training.composition import compose
from training.outputs import mean_loss
from training.update import direction


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
