"""The draws of a step are those of torchvision's transforms, whenever they are asked for."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from datasets.augmentation.draws import HUE, Draws, draw, nothing

SIZES = np.tile([500, 375], (4000, 1))


@pytest.fixture(scope="module")
def drawn() -> Draws:
    return draw(1, 2, SIZES, np.array([224, 224]))


def same(a: Draws, b: Draws) -> bool:
    return all(np.array_equal(vars(a)[name], vars(b)[name]) for name in vars(a))


def test_each_order_of_the_colour_operations_is_as_likely(drawn: Draws) -> None:
    orders = list(permutations(range(4)))
    counts = [(drawn.orders == order).all(axis=1).sum() for order in orders]
    assert sum(counts) == len(drawn)
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("operation", range(4))
def test_factors_are_uniform_in_the_jitters_range(drawn: Draws, operation: int) -> None:
    low = -0.3 if operation == HUE else 0.7
    assert stats.kstest(drawn.factors[:, operation], stats.uniform(low, 0.6).cdf).pvalue > 0.001


def test_half_of_the_samples_are_mirrored_and_a_tenth_is_gray(drawn: Draws) -> None:
    assert stats.binomtest(int(drawn.flips.sum()), len(drawn), 0.5).pvalue > 0.001
    assert stats.binomtest(int(drawn.grays.sum()), len(drawn), 0.1).pvalue > 0.001


def test_one_draw_says_nothing_about_another(drawn: Draws) -> None:
    columns = [drawn.boxes[:, 0], drawn.boxes[:, 2], drawn.flips, *drawn.factors.T, drawn.grays]
    numbers = np.stack([*columns, *drawn.orders.T[:3]]).astype(float)
    of_neighbours = np.corrcoef(numbers[:, :-1], numbers[:, 1:])[len(numbers) :, : len(numbers)]
    assert np.abs(of_neighbours).max() < 0.07
    of_same = np.corrcoef(numbers[2:8]) - np.eye(6)
    assert np.abs(of_same).max() < 0.07


def test_draws_depend_on_nothing_but_seed_step_and_sizes(drawn: Draws) -> None:
    np.random.seed(3)
    assert same(draw(1, 2, SIZES, np.array([224, 224])), drawn)
    for seed, step in ((1, 3), (2, 2), (2, 1)):
        other = draw(seed, step, SIZES, np.array([224, 224]))
        assert not np.array_equal(other.factors, drawn.factors)


def test_the_draws_of_a_seed_are_the_recorded_ones() -> None:
    # They must outlive versions of numpy: a trial that is run again meets the same images.
    first = draw(2**64 - 1, 10**6, np.array([[500, 375]]), np.array([224, 224]))
    assert first.boxes.tolist() == [[24, 9, 181, 204]]
    assert (first.flips.tolist(), first.grays.tolist()) == ([True], [True])
    assert first.orders.tolist() == [[2, 0, 1, 3]]
    factors = [0.865595629102, 1.02674808895, 1.17217038223, 0.015455111745]
    assert first.factors.round(12).tolist() == [factors]


def test_a_part_of_the_draws_is_that_of_some_samples(drawn: Draws) -> None:
    part = drawn[10:12]
    assert len(part) == 2
    for name, values in vars(part).items():
        assert np.array_equal(values, vars(drawn)[name][10:12])


def test_nothing_is_the_whole_image_untouched() -> None:
    whole = nothing(2, 30, 20)
    assert whole.boxes.tolist() == [[0, 0, 30, 20]] * 2
    assert whole.orders.shape == (2, 0)
    assert not whole.flips.any()
    assert not whole.grays.any()
