from __future__ import annotations

import torch

from tests.training.toy import Toy
from tests.training.toy_steps import direction_of, step_of, values_of
from training.algorithms.alignment import CORAL
from training.algorithms.gam import GAM
from training.schedules import Schedule


def test_each_of_the_four_passes_has_the_penalty():
    plain = values_of(step_of(Toy(), 4, 4), GAM(0.0, 0.0))

    penalised = values_of(step_of(Toy(), 4, 4), GAM(0.0, 0.0), CORAL(1.0))

    assert len(plain) == len(penalised) == 4
    for value, more in zip(plain, penalised, strict=True):
        torch.testing.assert_close(more - value, penalised[0] - plain[0])
        assert more > value


def test_both_radii_follow_the_schedule():
    number = 5
    half = Schedule("linear", 10)
    scheduled = direction_of(step_of(Toy(), 4, 4, number=number), GAM(0.4, 0.08, schedule=half))

    halved = direction_of(step_of(Toy(), 4, 4, number=number), GAM(0.2, 0.04))

    torch.testing.assert_close(scheduled, halved)
