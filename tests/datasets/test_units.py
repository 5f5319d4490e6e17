"""Random numbers are a function of seed, stream and step."""

import numpy as np
from scipy import stats

from datasets.randomness import units


def test_numbers_are_uniform() -> None:
    drawn = units(3, 1, 4, 10_000)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 0.001


def test_every_seed_stream_and_step_has_numbers_of_its_own() -> None:
    arguments = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**64 - 1, 1, 10**9)]
    drawn = np.concatenate([units(*three, 100) for three in arguments])
    assert len(set(drawn)) == len(drawn)


def test_more_numbers_begin_with_the_same_ones() -> None:
    assert units(3, 1, 4, 10).tolist() == units(3, 1, 4, 50)[:10].tolist()


def test_the_numbers_are_the_recorded_ones() -> None:
    assert units(7, 1, 10**6, 2).tolist() == [0.8169288614626627, 0.8050907358573918]
