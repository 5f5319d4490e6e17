from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.toy import Toy
from tests.training.toy_steps import step_of, values_of
from training.algorithms.gga import BLOCK, GGA, copy_if, inner_products


def frozen(module: nn.Module) -> nn.Module:
    return module.eval()


@pytest.mark.parametrize(
    ("between", "forwards_of_a_look"),
    [
        (nn.Identity(), 3),
        (nn.Dropout(0.0), 3),
        (nn.Dropout(0.5), 4),
        (frozen(nn.Dropout(0.5)), 3),
        (nn.BatchNorm1d(5), 4),
        (frozen(nn.BatchNorm1d(5)), 3),
        (frozen(nn.BatchNorm1d(5, track_running_stats=False)), 4),
    ],
    ids=str,
)
def test_a_look_takes_a_pass_of_all_samples_only_where_they_are_not_apart(
    between, forwards_of_a_look
):
    model = Toy(between)
    step = step_of(model, 4, 4, 4)
    forwards = 0

    def count(*_: object) -> None:
        nonlocal forwards
        forwards += 1

    model.classifier.register_forward_hook(count)
    values_of(step, GGA(0.1, search_steps=5, start=0))

    assert forwards == 6 * forwards_of_a_look + 1


@pytest.mark.parametrize("sizes", [(4, 4, 4), (8, 6, 3), (4, 0, 2)], ids=str)
def test_the_mean_loss_of_a_look_is_that_of_all_samples(sizes):
    passes = step_of(Toy(), *sizes).passes
    losses, _ = passes.domain_gradients()

    torch.testing.assert_close(passes.loss(losses), passes.loss())
    assert not passes.loss(losses).requires_grad


@pytest.mark.parametrize("holds", [True, False])
def test_a_copy_is_made_if_its_condition_holds(holds):
    target, source = torch.zeros(3), torch.ones(3)

    copy_if(torch.tensor(holds), target, source)

    assert torch.equal(target, source) == holds


def test_a_copy_elsewhere_than_on_the_cpu_does_not_read_its_condition():
    """Tensors without numbers raise an error where a number is read."""
    on_meta = torch.device("meta")
    condition = torch.empty((), dtype=torch.bool, device=on_meta)
    target = torch.zeros(3, device=on_meta)

    copy_if(condition, target, torch.ones(3, device=on_meta))

    with pytest.raises(RuntimeError):
        bool(condition)


@pytest.mark.parametrize("width", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 1])
def test_inner_products_are_those_of_whole_rows(width):
    rows = torch.randn(3, width, dtype=torch.float64)

    torch.testing.assert_close(inner_products(rows), rows @ rows.T)


def test_inner_products_of_long_rows_are_exact_to_single_precision():
    rows = torch.rand(2, 1 << 22, generator=torch.Generator().manual_seed(0))

    exact = rows.double() @ rows.double().T
    off = (inner_products(rows) / exact - 1).abs().max()

    assert off < 1e-6
