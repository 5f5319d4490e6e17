"""A step on a batch in pieces is the step on the whole batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.training.toy import Toy, batch, forwards, passes
from training import algorithms, optimizers
from training.draws import StepDraws
from training.micro_batches import cut
from training.outputs import mean_loss
from training.passes import Passes
from training.update import Step, take_step
from training.weights import Weights

SIZES = (8, 8, 8)
CPU = torch.device("cpu")

# Numbers that tell in three steps, for those whose own would not.
NUMBERS: dict[str, dict[str, float]] = {
    "SAM": {"rho": 0.3},
    "GSAM": {"rho": 0.3, "alpha": 0.4},
    "SAGM": {"rho": 0.3, "alpha": 0.1},
    "DISAM": {"rho": 0.3, "lambda": 2.0},
    "GGA": {"start": 0, "search_steps": 3, "neighborhood": 0.1},
    "GGA-L": {"gamma": 0.1},
    "GroupDRO": {"groupdro_eta": 1.0},
    "VREx": {"vrex_anneal": 0},
    "IRM": {"irm_anneal": 0, "irm_lambda": 2.0},
    "Fishr": {"fishr_anneal": 0},
    "DISAM+SAGM": {"rho": 0.3, "lambda": 2.0},
    "DISAM+SAGM+CORAL": {"rho": 0.3, "lambda": 2.0},
}
# MIRO's layers are not in this network; test_golden_miro.py has them in pieces.
ELSEWHERE = (*algorithms.OF_TEXTS, "MIRO")
PARTS = [part for part in algorithms.PARTS if part not in ELSEWHERE]
ALGORITHMS = [*dict.fromkeys(["ERM", *PARTS, *NUMBERS, "Fish+SAM"])]


def after(algorithm: str, pieces: int, *between: nn.Module, sizes: tuple[int, ...] = SIZES) -> Any:
    """Weights [P] and losses of three steps in float64."""
    model = Toy(*between)
    weights = Weights(model)
    update = algorithms.build(algorithm, NUMBERS.get(algorithm, {}))
    optimizer = optimizers.build("sgd", weights.flat, 0.5, 0.01, 0.9)
    memory: dict[str, torch.Tensor] = {}
    losses: list[torch.Tensor] = []
    for number in range(3):
        some = Passes(model, weights, batch(*sizes), pieces=pieces)
        step = Step(number, some, weights, StepDraws(0, number, CPU), memory)
        losses += take_step(update, step, optimizer)
    return weights.flat, torch.stack(losses)


@pytest.mark.parametrize("pieces", [3, 8])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_steps_are_those_of_the_whole_batch(algorithm, pieces):
    whole, losses = after(algorithm, 1)

    in_pieces, losses_in_pieces = after(algorithm, pieces)

    torch.testing.assert_close(in_pieces, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(losses_in_pieces, losses, rtol=0, atol=1e-12)


@pytest.mark.parametrize("algorithm", ["SAM", "SAGM", "DISAM"])
@pytest.mark.parametrize("sizes", [(8, 5, 3), (4, 0, 2), (1, 9)], ids=str)
def test_domains_of_different_sizes_are_shared_out_as_far_as_they_go(algorithm, sizes):
    whole, _ = after(algorithm, 1, sizes=sizes)

    in_pieces, _ = after(algorithm, 4, sizes=sizes)

    torch.testing.assert_close(in_pieces, whole, rtol=0, atol=1e-12)


def test_batch_norm_that_is_frozen_makes_no_difference():
    whole, in_pieces = (after("DISAM", n, nn.BatchNorm1d(5).eval())[0] for n in (1, 4))

    torch.testing.assert_close(in_pieces, whole, rtol=0, atol=1e-12)


def test_each_piece_has_a_share_of_every_domain():
    x = torch.arange(14)

    pieces = cut(x, (8, 6), 2)

    assert [[block.tolist() for block in piece] for piece in pieces] == [
        [[0, 1, 2, 3], [8, 9, 10]],
        [[4, 5, 6, 7], [11, 12, 13]],
    ]


@pytest.mark.parametrize(
    ("objective", "times"), [(mean_loss, 1), (lambda outputs: outputs.domain_losses.var(), 2)]
)
def test_a_mean_loss_costs_one_forward_of_each_piece_and_anything_else_two(objective, times):
    seen = forwards(model := Toy())

    passes(model, *SIZES, pieces=4)[0].gradient(objective)

    assert seen == [6] * 4 * times


@pytest.mark.parametrize("objective", [mean_loss, lambda outputs: outputs.losses.square().mean()])
@pytest.mark.parametrize("second_pass", ["frozen", "updated"])
def test_running_statistics_count_each_piece_once_and_the_second_pass_where_asked_to(
    objective, second_pass
):
    norm = nn.BatchNorm1d(5)
    some, _ = passes(Toy(norm), *SIZES, freeze_second=second_pass == "frozen", pieces=4)

    some.gradient(objective)
    after_first = [buffer.clone() for buffer in norm.buffers()]
    some.gradient(objective, second=True)

    unchanged = list(map(torch.equal, norm.buffers(), after_first))
    assert unchanged == [second_pass == "frozen"] * 3
    assert norm.num_batches_tracked == (4 if second_pass == "frozen" else 8)


@pytest.mark.parametrize("between", [nn.Dropout(0.5), nn.BatchNorm1d(5)], ids=["dropout", "norm"])
def test_a_piece_that_goes_forward_again_gives_what_it_gave(between):
    """Else the gradient would not be that of the value."""
    some, _ = passes(Toy(between), *SIZES, pieces=3)

    def seeded(objective: Any) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(3)
        value, gradient = some.gradient(objective)
        return value, gradient.clone()

    def again(outputs: Any) -> torch.Tensor:
        return mean_loss(outputs) * 1

    for one, other in zip(seeded(again), seeded(mean_loss), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
