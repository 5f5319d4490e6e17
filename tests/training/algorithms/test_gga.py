from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.toy import Toy, forwards
from tests.training.toy_steps import step_of, values_of
from training.algorithms.gga import BLOCK, GGA, copy_if, inner_products


@pytest.mark.parametrize(
    ("between", "forwards_of_a_look"),
    [
        (nn.Identity(), 3),
        (nn.Dropout(0.0), 3),
        (nn.Dropout(0.5), 4),
        (nn.Dropout(0.5).eval(), 3),
        (nn.BatchNorm1d(5), 4),
        (nn.BatchNorm1d(5).eval(), 3),
        (nn.BatchNorm1d(5, track_running_stats=False).eval(), 4),
    ],
    ids=str,
)
def test_a_look_takes_a_pass_of_all_samples_only_where_they_are_not_apart(
    between, forwards_of_a_look
):
    seen = forwards(model := Toy(between))

    values_of(step_of(model, 4, 4, 4), GGA(0.1, search_steps=5, start=0))

    assert len(seen) == 6 * forwards_of_a_look + 1


@pytest.mark.parametrize("sizes", [(4, 4, 4), (8, 6, 3), (4, 0, 2)], ids=str)
def test_the_mean_loss_of_a_look_is_that_of_all_samples(sizes):
    passes = step_of(Toy(), *sizes).passes
    losses, _ = passes.domain_gradients()

    torch.testing.assert_close(passes.loss(losses), passes.loss())
    assert not passes.loss(losses).requires_grad


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
