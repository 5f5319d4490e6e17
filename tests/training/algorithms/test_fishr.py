from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.training.toy import Toy
from tests.training.toy_steps import outputs_of, step_of, values_of
from training.algorithms.fishr import Fishr, gradient_variances
from training.algorithms.sam import SAM


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


def test_both_passes_of_a_climb_start_from_the_same_memory():
    step = step_of(Toy(), 4, 4, 4, number=7)
    step.memory["Fishr"] = torch.rand(3, 3, 6, dtype=torch.float64)

    values = values_of(step, Fishr(3.0, 7, 0.9), SAM(0.0))

    torch.testing.assert_close(values[0], values[1])
