from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.training.toy import Toy
from tests.training.toy_steps import direction_of, outputs_of, step_of
from training.algorithms.fish import Fish
from training.algorithms.irm import IRM


def slope(logits: Tensor, y: Tensor) -> Tensor:
    """Derivative of the loss of scaled logits by their scale, kept in the graph."""
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = F.cross_entropy(logits * scale, y)
    return torch.autograd.grad(loss, scale, create_graph=True)[0]


@pytest.mark.parametrize("sizes", [(4, 4), (5, 5, 5), (2, 2)], ids=str)
@pytest.mark.parametrize(("number", "weight"), [(6, 1.0), (7, 3.0)])
def test_the_penalty_is_the_product_of_the_slopes_of_two_halves(sizes, number, weight):
    step = step_of(Toy(), *sizes, number=number)
    outputs = outputs_of(step)
    domains = zip(outputs.logits.split(sizes), outputs.y.split(sizes), strict=True)
    products = [slope(z[::2], y[::2]) * slope(z[1::2], y[1::2]) for z, y in domains]
    expected = weight * torch.stack(products).mean()

    penalty = IRM(3.0, 7).penalty(outputs, step)

    torch.testing.assert_close(penalty, expected)
    torch.testing.assert_close(
        torch.autograd.grad(penalty, outputs.logits), torch.autograd.grad(expected, outputs.logits)
    )


def test_each_step_of_a_walk_has_the_penalty_of_its_domain():
    plain, penalised = (direction_of(step_of(Toy(), 4), *parts) for parts in ([], [IRM(5.0, 0)]))

    walking = direction_of(step_of(Toy(), 4), Fish(), IRM(5.0, 0))

    assert torch.equal(walking, penalised)
    assert not torch.equal(walking, plain)
