from __future__ import annotations

from dataclasses import replace

import torch

from tests.training.toy import Toy
from tests.training.toy_steps import direction_of, step_of, values_of
from training.algorithms.mixup import Mixup
from training.algorithms.sam import SAM


def test_both_passes_of_a_climb_see_one_mixture():
    values = values_of(step_of(Toy(), 4, 4, 4), Mixup(), SAM(0.0))

    torch.testing.assert_close(values[0], values[1])


def test_mixtures_differ_from_step_to_step():
    first, other = (step_of(Toy(), 4, 4, 4, number=number) for number in (0, 1))

    assert not torch.equal(direction_of(first, Mixup()), direction_of(other, Mixup()))


def test_images_keep_their_order_in_memory():
    step = step_of(Toy(), 4, 4)
    images = torch.rand(8, 3, 5, 5).to(memory_format=torch.channels_last)

    mixed = Mixup().mix(replace(step.passes.batch, x=images), step)

    assert mixed.x.is_contiguous(memory_format=torch.channels_last)
    assert not mixed.x.is_contiguous()
