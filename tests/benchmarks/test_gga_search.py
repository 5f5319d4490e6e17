"""The comparison of GGA's searches compares like with like."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.gga_search import compare, floor, steppe, table, transcription
from benchmarks.step_contestants import CASES, LR, Contestant, batch_of, model_of
from tests.training.toy import forwards
from training.algorithms.gga import GGA
from training.draws import StepDraws
from training.weights import Weights

CPU = torch.device("cpu")
MLP = replace(CASES["mlp"], rounds=1, batch_size=8)
STEPPE = Contestant("steppe")


class Recorded(StepDraws):
    """Draws that write down the noise of each try."""

    def __init__(self) -> None:
        super().__init__(0, 0, CPU)
        self.noise: list[Tensor] = []

    def uniform(self, like: Tensor, out: Tensor | None = None) -> Tensor:
        drawn = super().uniform(like, out)
        self.noise.append(drawn.clone())
        return drawn


def test_both_ways_take_the_same_step_of_the_same_noise() -> None:
    search = GGA(0.02, search_steps=12)
    batch = batch_of(MLP, CPU)
    batch = replace(batch, x=batch.x.double())
    ours, theirs = (model_of(STEPPE, MLP, batch).double() for _ in range(2))
    begin = nn.utils.parameters_to_vector(theirs.parameters()).clone()
    draws = Recorded()

    steppe(ours, batch, search, draws)()
    pieces = [
        piece
        for noise in draws.noise
        for piece in noise.split([p.numel() for p in theirs.featurizer.parameters()])
    ]
    transcription(theirs, batch, search, lambda like: pieces.pop(0).reshape(like.shape))()

    ends = [nn.utils.parameters_to_vector(model.parameters()) for model in (ours, theirs)]
    assert not pieces
    assert (ends[0] - begin).abs().max() > 10 * LR  # a try was kept
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=LR / 1000)


@pytest.mark.parametrize(("dropout", "forwards_of_a_look"), [(0.0, 3), (0.5, 4)])
def test_the_floor_makes_the_passes_of_a_step(dropout: float, forwards_of_a_look: int) -> None:
    search, batch = GGA(search_steps=2), batch_of(MLP, CPU)
    ours, least = (model_of(STEPPE, MLP, batch, dropout) for _ in range(2))
    made = forwards(ours), forwards(least)

    steppe(ours, batch, search, StepDraws(0, 0, CPU))()
    floor(least, batch, search, dropout)()

    assert [*map(len, made)] == [3 * forwards_of_a_look + 1] * 2


def test_the_floor_leaves_the_weights_alone() -> None:
    batch = batch_of(MLP, CPU)
    model = model_of(STEPPE, MLP, batch)
    weights = Weights(model)
    before = weights.flat.clone()

    floor(model, batch, GGA(search_steps=2), 0.0)()

    assert torch.equal(weights.flat, before)


def test_a_comparison_has_a_row_of_positive_figures() -> None:
    row = compare("mlp", MLP, GGA(search_steps=2), 0.5, CPU)

    assert (row.case, row.dropout) == ("mlp", 0.5)
    figures = row.milliseconds, row.transcription_milliseconds, row.to_transcription, row.to_floor
    assert min(figures) > 0
    assert table([row]).count("\n") == 1
