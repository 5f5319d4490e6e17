"""SWA and EMA against torch's own, and what a run needs of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn

from training import averaging
from training.averaging import AVERAGINGS, EMA, SWA, SWAD, Averaging

STEPS = 12
PATH = torch.randn(STEPS, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Point(nn.Module):
    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.clone())


def torchs(which: list[int], **options: Any) -> Tensor:
    """What AveragedModel makes of the weights of these steps."""
    average = AveragedModel(Point(PATH[0]), **options)
    for at in which:
        average.update_parameters(Point(PATH[at]))
    return average.module.weights.detach()


def walked(average: Averaging) -> Tensor:
    for at in range(STEPS):
        average.add(PATH[at], at + 1, STEPS)
    return average.result()


@pytest.mark.parametrize(
    ("start", "every", "which"),
    [
        (0.0, 1, range(12)),
        (0.75, 1, [9, 10, 11]),
        (0.74, 1, [8, 9, 10, 11]),
        (0.0, 5, [1, 6, 11]),
        (0.5, 4, [7, 11]),
        (0.99, 1, [11]),
        (0.0, 100, [11]),
    ],
)
def test_swa_is_torchs_mean_of_the_last_part_of_the_run(start, every, which):
    average = walked(SWA(start, every))

    torch.testing.assert_close(average, torchs(list(which)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_ema_is_torchs(decay):
    average = walked(EMA(decay))

    expected = torchs(list(range(STEPS)), avg_fn=get_ema_avg_fn(decay))
    torch.testing.assert_close(average, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        (SWA, {"start": 1.0}, "0 <= swa_start < 1 must hold, but got 1.0"),
        (SWA, {"start": -0.1}, "0 <= swa_start < 1 must hold, but got -0.1"),
        (SWA, {"every": 0}, "swa_every must be at least 1, but got 0"),
        (EMA, {"decay": 1.0}, "0 <= ema_decay < 1 must hold, but got 1.0"),
        (SWAD, {"converge": 0}, "swad_converge=0"),
        (SWAD, {"tolerance": 0}, "swad_tolerance=0"),
        (SWAD, {"ratio": -0.1}, "swad_ratio must not be negative, but got -0.1"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(kind, numbers, message):
    with pytest.raises(ValueError, match=message):
        kind(**numbers)


def test_numbers_are_hyperparameters_by_their_full_names():
    assert averaging.hyperparameters("swad") == {
        "swad_converge": 3,
        "swad_tolerance": 6,
        "swad_ratio": 0.3,
    }
    assert averaging.hyperparameters("swa") == {"swa_start": 0.75, "swa_every": 1}
    assert averaging.hyperparameters("ema") == {"ema_decay": 0.999}
    assert averaging.hyperparameters("none") == {}


def test_an_averaging_is_built_with_its_numbers_and_their_types():
    assert averaging.build("none", {}) is None
    assert averaging.build("ema", {"ema_decay": 0.5}) == EMA(0.5)
    swad = averaging.build("swad", {"swad_tolerance": 4.0})
    assert (swad.converge, swad.tolerance, swad.ratio) == (3, 4, 0.3)
    assert isinstance(swad.tolerance, int)


def test_an_unknown_averaging_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown averaging 'lawa'; there are: none, swad"):
        averaging.build("lawa", {})


def test_no_name_of_an_averaging_begins_another():
    """Else the names of their hyperparameters could be mistaken for each other's."""
    names = [f"{name}_" for name in AVERAGINGS]
    assert not [a for a in names for b in names if a != b and b.startswith(a)]
