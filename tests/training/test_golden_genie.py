"""GENIE's optimizer against records of its released code."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.training.golden_case import (
    GoldenNetwork,
    RecordedDraws,
    batches,
    cases,
    close,
    each,
    flat,
    read,
)
from training.optimizers import GENIE
from training.passes import Passes
from training.update import Step, Update, take_step
from training.weights import Weights

LEAST = 1e-8


class AsReleased(GENIE):
    """In the first step its variance is 0 / 0: as rounding made of it in the record."""

    infinite: Tensor

    def variance(self, mean: Tensor, square: Tensor, share: float) -> Tensor:
        if int(self.state["step"]) > 1:
            return super().variance(mean, square, share)
        return torch.where(self.infinite, torch.inf, torch.full_like(mean, LEAST))


@each(cases("genie"))
def test_genie_passes_through_the_recorded_weights(case):
    problem, signed = read("genie")["problems"][case["problem"]], "normal" not in case
    model, h = GoldenNetwork(problem), case["hparams"]
    weights = Weights(model)
    optimizer = AsReleased(
        weights.flat,
        h["convergence_rate"],
        case["optimizer"]["weight_decay"],
        weights.sizes,
        average=h["moving_avg"],
        drop=0.0 if signed else h["p"],  # Sign_GENIE has neither noise nor mask
    )
    optimizer.infinite = flat(case["first_variance_infinite"]) > 0
    update = Update(objective=lambda outputs, _: case["loss_factor"] * outputs.losses.mean())
    for number, batch in enumerate(batches(problem)):
        drawn = [torch.zeros_like(weights.flat), torch.ones_like(weights.flat)]
        if not signed:
            drawn = [flat(case[name][number]) for name in ("normal", "uniform")]
        step = Step(number, Passes(model, weights, batch), weights, RecordedDraws(drawn))
        (loss,) = take_step(update, step, optimizer)
        close(loss, case["losses"][number])
        if str(number + 1) in case["params"]:
            close(weights.flat, flat(case["params"][str(number + 1)]))


def test_each_tensor_has_noise_of_its_own_size_and_the_first_step_is_finite():
    ones = torch.ones(4, dtype=torch.float64)
    ends = []
    for sizes in ([3, 1], [4]):
        weights = torch.zeros(4, dtype=torch.float64)
        optimizer = GENIE(weights, 1.0, 0.0, sizes, average=0.5, drop=0.0)
        for sign in (1, -3, 9):
            gradient = torch.tensor([9.0, -9.0, 1.0, 0.1], dtype=torch.float64) * sign
            optimizer.step(gradient, RecordedDraws([ones, ones]))
            assert weights.isfinite().all()
        ends.append(weights)
    assert not torch.allclose(*ends)
