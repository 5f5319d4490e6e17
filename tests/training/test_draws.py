from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from training.draws import StepDraws, seed_dropout

CPU = torch.device("cpu")
SHAPE = torch.empty(1000)


def test_draws_of_a_step_are_the_same_whenever_they_are_made():
    once = StepDraws(3, 7, CPU)
    values = [once.uniform(SHAPE), once.normal(SHAPE)]

    StepDraws(3, 8, CPU).uniform(SHAPE)
    torch.manual_seed(99)
    again = StepDraws(3, 7, CPU)

    room = torch.zeros(1000)
    assert again.uniform(SHAPE, out=room) is room
    assert torch.equal(room, values[0])
    assert torch.equal(again.normal(SHAPE), values[1])


def test_draws_differ_between_steps_seeds_and_calls():
    first = StepDraws(3, 7, CPU)
    draws = [
        first.uniform(SHAPE),
        first.uniform(SHAPE),
        StepDraws(3, 8, CPU).uniform(SHAPE),
        StepDraws(4, 7, CPU).uniform(SHAPE),
    ]

    for i, one in enumerate(draws):
        assert not any(torch.equal(one, other) for other in draws[i + 1 :])


def test_draws_have_the_distribution_they_are_named_after():
    many = torch.empty(100_000, dtype=torch.float64)
    uniform, normal = StepDraws(0, 0, CPU).uniform(many), StepDraws(0, 1, CPU).normal(many)

    assert 0 <= uniform.min() < 0.001
    assert 0.999 < uniform.max() < 1
    torch.testing.assert_close(uniform.var().item(), 1 / 12, rtol=0.02, atol=0)
    torch.testing.assert_close(normal.mean().item(), 0.0, rtol=0, atol=0.02)
    torch.testing.assert_close(normal.std().item(), 1.0, rtol=0.02, atol=0)
    assert uniform.dtype == torch.float64


def test_plain_numbers_of_a_step_are_the_same_whatever_tensors_it_draws():
    once, again = StepDraws(3, 7, CPU), StepDraws(3, 7, CPU)
    again.uniform(SHAPE)

    assert once.permutation(9) == again.permutation(9)
    assert once.beta(0.5) == again.beta(0.5) != once.beta(0.5)
    assert StepDraws(3, 8, CPU).permutation(9) != StepDraws(3, 7, CPU).permutation(9)


def test_permutations_are_as_likely_as_each_other():
    drawn = [tuple(StepDraws(0, step, CPU).permutation(3)) for step in range(600)]

    counts = [drawn.count(order) for order in permutations(range(3))]

    assert sum(counts) == 600
    assert all(70 < count < 130 for count in counts)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_shares_have_the_mean_and_the_variance_of_a_beta_distribution(alpha):
    draws = StepDraws(0, 0, CPU)
    shares = torch.tensor([draws.beta(alpha) for _ in range(4000)], dtype=torch.float64)

    assert 0 <= shares.min() < shares.max() <= 1
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_draws_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()

    state = np.random.get_state()[1].copy()

    StepDraws(0, 0, CPU).uniform(SHAPE)
    StepDraws(0, 0, CPU).beta(0.2)

    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == state).all()


def test_dropout_masks_are_functions_of_seed_and_step():
    def mask(seed: int, step: int) -> torch.Tensor:
        seed_dropout(seed, step, CPU)
        return torch.nn.functional.dropout(torch.ones(100))

    assert torch.equal(mask(1, 2), mask(1, 2))
    assert not torch.equal(mask(1, 2), mask(1, 3))
    assert not torch.equal(mask(1, 2), mask(2, 2))
