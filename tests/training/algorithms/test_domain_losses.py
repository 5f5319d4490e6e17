"""VREx and GroupDRO: what is made of the losses of the domains."""

from __future__ import annotations

import pytest
import torch

from tests.training.toy import Toy
from tests.training.toy_steps import direction_of, outputs_of, step_of, values_of
from training.algorithms.groupdro import GroupDRO
from training.algorithms.sam import SAM
from training.algorithms.vrex import VREx


@pytest.mark.parametrize(("number", "weight"), [(0, 1.0), (6, 1.0), (7, 3.0), (8, 3.0)])
def test_the_variance_of_vrex_has_weight_1_until_its_step_comes(number, weight):
    step = step_of(Toy(), 4, 4, 4, number=number)
    losses = outputs_of(step).domain_losses

    (value,) = values_of(step, VREx(3.0, 7))

    torch.testing.assert_close(value, (losses.mean() + weight * losses.var(correction=0)).detach())


@pytest.mark.parametrize("part", [VREx(5.0, 0), GroupDRO(5.0)], ids=repr)
def test_one_domain_alone_is_left_as_it_is(part):
    step = step_of(Toy(), 6)

    torch.testing.assert_close(direction_of(step, part), direction_of(step))


def test_domains_weigh_more_the_longer_their_loss_is_high():
    step = step_of(Toy(), 4, 4, 4)
    step.memory["GroupDRO"] = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    losses = outputs_of(step).domain_losses.detach()
    expected = (step.memory["GroupDRO"].log() + 0.4 * losses).softmax(0)

    (value,) = values_of(step, GroupDRO(0.4))

    torch.testing.assert_close(step.memory["GroupDRO"], expected)
    torch.testing.assert_close(value, expected @ losses)


def test_weights_of_domains_move_once_in_a_step_with_two_passes():
    alone, climbing = step_of(Toy(), 4, 4, 4), step_of(Toy(), 4, 4, 4)
    values_of(alone, GroupDRO(2.0))

    values = values_of(climbing, GroupDRO(2.0), SAM(0.5))

    assert torch.equal(climbing.memory["GroupDRO"], alone.memory["GroupDRO"])
    assert values[1] > values[0]


def test_groupdro_that_never_shifts_its_weights_is_erm():
    step = step_of(Toy(), 4, 4, 4)

    torch.testing.assert_close(direction_of(step, GroupDRO(0.0)), direction_of(step))
