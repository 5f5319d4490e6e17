"""The comparison of step costs compares like with like."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.peak_memory import peak_bytes
from benchmarks.step_contestants import CASES, EVERY, LR, Contestant, batch_of, model_of, step_of
from benchmarks.step_cost import compare, extra_copies, table, verdict

CPU = torch.device("cpu")
MLP = replace(CASES["mlp"], rounds=1, steps=1, algorithms=("ERM", "SAM", "SAGM"))


@pytest.mark.parametrize("algorithm", ["ERM", "SAM", "SAGM"])
def test_the_released_way_takes_the_same_step(algorithm: str) -> None:
    batch = batch_of(MLP, CPU)
    ends = []
    for way in ("steppe", "released"):
        contestant = Contestant(way, algorithm)  # type: ignore[arg-type]
        model = model_of(contestant, MLP, batch)
        begin = nn.utils.parameters_to_vector(model.parameters()).clone()
        step_of(contestant, model, batch)()
        ends.append(nn.utils.parameters_to_vector(model.parameters()).detach())

    # Adam's first step is about the sign of the gradient, which rounding flips where it is zero.
    assert (ends[0] - begin).abs().mean() > LR / 2
    assert (ends[0] - ends[1]).abs().mean() < LR / 1000


@pytest.mark.parametrize("algorithm", EVERY)
def test_every_algorithm_has_a_floor(algorithm: str) -> None:
    passes = Contestant("steppe", algorithm).passes
    assert passes == {"GGA": 7, "MIRO": 4 / 3}.get(algorithm, int(passes))
    assert 1 <= passes <= 7


def test_a_comparison_has_a_row_for_each_contestant_and_a_verdict() -> None:
    rows = compare("mlp", MLP, CPU)

    assert [row.name for row in rows] == [
        *("ERM", "SAM", "SAGM"),
        *("released ERM", "released SAM", "released SAGM"),
    ]
    assert all(row.milliseconds > 0 for row in rows)
    assert [row.to_erm for row in rows if row.name == "released ERM"] == [1]
    assert [row.to_released is None for row in rows] == [False] * 3 + [True] * 3
    assert table(rows).count("\n") == 6
    assert verdict(rows, 1000.0).endswith("goal 1000.00, met")
    assert verdict(rows, 0.0).endswith("goal 0.00, missed")


def test_sharpness_takes_one_more_copy_of_the_weights_and_one_of_the_gradients() -> None:
    sharp = ("SAM", "ASAM", "GSAM", "SAGM", "DISAM", "DISAM+SAGM")
    contestants = [Contestant("steppe", name) for name in ("ERM", *sharp)]

    copies = extra_copies(contestants, MLP, batch_of(MLP, CPU))

    assert list(copies.values()) == pytest.approx([0, *(2 for _ in sharp)], abs=0.1)


def test_peak_memory_counts_what_lives_at_the_same_time() -> None:
    def work() -> None:
        first = torch.zeros(1000)
        second = torch.zeros(2000)
        del first
        third = torch.zeros(500)
        del second, third

    assert peak_bytes(work, CPU) == 4 * 3000
