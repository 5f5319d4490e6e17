from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.training.toy import Toy
from tests.training.toy_steps import direction_of, outputs_of, step_of, values_of
from training.algorithms.fishr import Fishr, gradient_variances
from training.algorithms.sam import SAM
from training.outputs import mean_loss


@pytest.mark.parametrize("sizes", [(4, 4, 4), (1, 1), (6,)], ids=str)
def test_variances_are_those_of_the_gradients_of_single_samples(sizes):
    model = Toy()
    outputs = outputs_of(step_of(model, *sizes))
    single = []
    for features, y in zip(outputs.features.detach(), outputs.y, strict=True):
        loss = F.cross_entropy(model.classifier(features[None]), y[None])
        weight, bias = torch.autograd.grad(loss, list(model.classifier.parameters()))
        single.append(torch.cat([weight, bias[:, None]], dim=1))

    variances = gradient_variances(outputs)

    expected = torch.stack(single).unflatten(0, (len(sizes), -1)).var(1, correction=0)
    torch.testing.assert_close(variances, expected)


def test_the_penalty_is_silent_until_its_step_comes_but_remembers():
    step = step_of(Toy(), 4, 4, 4, number=6)
    plain, variances = mean_loss(outputs_of(step)), gradient_variances(outputs_of(step))

    (value,) = values_of(step, Fishr(3.0, 7, 0.9))

    torch.testing.assert_close(value, plain.detach())
    torch.testing.assert_close(step.memory["Fishr"], variances.detach())


def test_earlier_variances_count_less_and_the_newest_in_full():
    step = step_of(Toy(), 4, 4, 4, number=7)
    earlier = step.memory["Fishr"] = torch.rand(3, 3, 6, dtype=torch.float64)
    outputs = outputs_of(step)
    used = 0.9 * earlier + gradient_variances(outputs)
    expected = mean_loss(outputs) + 3 * (used - used.mean(0)).square().mean()

    (value,) = values_of(step, Fishr(3.0, 7, 0.9))

    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(step.memory["Fishr"], used.detach())


def test_both_passes_of_a_climb_start_from_the_same_memory():
    step = step_of(Toy(), 4, 4, 4, number=7)
    step.memory["Fishr"] = torch.rand(3, 3, 6, dtype=torch.float64)

    values = values_of(step, Fishr(3.0, 7, 0.9), SAM(0.0))

    torch.testing.assert_close(values[0], values[1])


def test_one_domain_alone_is_left_as_it_is():
    step = step_of(Toy(), 6)

    torch.testing.assert_close(direction_of(step, Fishr(5.0, 0)), direction_of(step))
