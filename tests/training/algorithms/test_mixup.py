from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.training.golden_case import RecordedDraws
from tests.training.toy import CLASSES, Toy
from tests.training.toy_steps import direction_of, step_of, values_of
from training.algorithms.mixup import Mixup
from training.algorithms.sam import SAM


def test_each_domain_is_mixed_with_the_next_of_the_ring():
    drawn = RecordedDraws([], order=[2, 0, 1], shares=[0.25, 0.5, 1.0])
    step = replace(step_of(Toy(), 4, 4, 4), draws=drawn)
    x = step.passes.batch.x.split(4)
    y = F.one_hot(step.passes.batch.y, CLASSES).double().split(4)

    mixed = Mixup().mix(step.passes.batch, step)

    for values, pure in ((mixed.x, x), (mixed.y, y)):
        expected = [0.25 * pure[2] + 0.75 * pure[0], 0.5 * pure[0] + 0.5 * pure[1], pure[1]]
        torch.testing.assert_close(values, torch.cat(expected))


def test_the_loss_is_that_of_both_labels_by_their_shares():
    model = Toy()
    drawn = RecordedDraws([], order=[0, 1], shares=[0.3, 0.9])
    step = replace(step_of(model, 4, 4), draws=drawn)
    (xi, xj), (yi, yj) = step.passes.batch.x.split(4), step.passes.batch.y.split(4)

    def loss(share: float, one: tuple, other: tuple) -> torch.Tensor:
        logits = model(share * one[0] + (1 - share) * other[0])
        return share * F.cross_entropy(logits, one[1]) + (1 - share) * F.cross_entropy(
            logits, other[1]
        )

    expected = (loss(0.3, (xi, yi), (xj, yj)) + loss(0.9, (xj, yj), (xi, yi))) / 2
    (value,) = values_of(step, Mixup())

    torch.testing.assert_close(value, expected.detach())


def test_both_passes_of_a_climb_see_one_mixture():
    values = values_of(step_of(Toy(), 4, 4, 4), Mixup(), SAM(0.0))

    torch.testing.assert_close(values[0], values[1])


def test_mixtures_differ_from_step_to_step():
    first, other = (step_of(Toy(), 4, 4, 4, number=number) for number in (0, 1))

    assert not torch.equal(direction_of(first, Mixup()), direction_of(other, Mixup()))


def test_one_domain_alone_is_mixed_with_itself():
    step = step_of(Toy(), 6)

    torch.testing.assert_close(direction_of(step, Mixup()), direction_of(step))


def test_domains_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"as many samples of each domain, not \(4, 3\)"):
        direction_of(step_of(Toy(), 4, 3), Mixup())


def test_images_keep_their_order_in_memory():
    step = step_of(Toy(), 4, 4)
    images = torch.rand(8, 3, 5, 5).to(memory_format=torch.channels_last)

    mixed = Mixup().mix(replace(step.passes.batch, x=images), step)

    assert mixed.x.is_contiguous(memory_format=torch.channels_last)
    assert not mixed.x.is_contiguous()
