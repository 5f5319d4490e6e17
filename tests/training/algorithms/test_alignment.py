from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor

from tests.training.toy import Toy
from tests.training.toy_steps import outputs_of, step_of
from training.algorithms.alignment import CORAL, MMD, WIDTHS
from training.outputs import Outputs


def coral_of(one: Tensor, other: Tensor) -> Tensor:
    means = (one.mean(0) - other.mean(0)).square().mean()
    return means + (one.T.cov() - other.T.cov()).square().mean()


def mmd_of(one: Tensor, other: Tensor) -> Tensor:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squares = (a[:, None] - b).square().sum(2)
        return sum((torch.exp(-width * squares) for width in WIDTHS), torch.zeros(())).mean()

    return kernel(one, one) + kernel(other, other) - 2 * kernel(one, other)


@pytest.mark.parametrize("sizes", [(4, 4), (5, 5, 5), (2, 2, 2, 2)], ids=str)
@pytest.mark.parametrize(("part", "of_pair"), [(CORAL(0.7), coral_of), (MMD(0.7), mmd_of)])
def test_the_penalty_is_the_mean_over_the_pairs_of_domains(part, of_pair, sizes):
    step = step_of(Toy(), *sizes)
    outputs = outputs_of(step)
    domains = outputs.features.split(sizes)
    expected = torch.stack([of_pair(a, b) for a, b in combinations(domains, 2)]).mean()

    penalty = part.penalty(outputs, step)

    torch.testing.assert_close(penalty, 0.7 * expected)
    torch.testing.assert_close(
        torch.autograd.grad(penalty, outputs.features),
        torch.autograd.grad(0.7 * expected, outputs.features),
    )


@pytest.mark.parametrize("part", [CORAL(), MMD()], ids=repr)
def test_domains_with_the_same_features_have_nothing_to_align(part):
    features = torch.randn(4, 5, dtype=torch.float64).repeat(3, 1).requires_grad_()
    outputs = Outputs(features, features, torch.zeros(12, dtype=torch.long), (4, 4, 4))

    penalty = part.penalty(outputs, step_of(Toy(), 4))

    (gradient,) = torch.autograd.grad(penalty, features)
    assert penalty.item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-10)


def test_mmd_is_accurate_in_single_precision_far_from_the_origin():
    torch.manual_seed(0)
    features = 5 + torch.randn(24, 64, dtype=torch.float64)

    def gradient(dtype: torch.dtype) -> Tensor:
        own = features.to(dtype).requires_grad_()
        outputs = Outputs(own, own, torch.zeros(24, dtype=torch.long), (12, 12))
        return torch.autograd.grad(MMD().penalty(outputs, step_of(Toy(), 4)), own)[0].double()

    exact = gradient(torch.float64)
    assert (gradient(torch.float32) - exact).norm() < 1e-4 * exact.norm()
