"""How many trials share a GPU, decided by recorded measurements."""

import pandas as pd
import pytest

from search.study.packing import Measured, choose, measured_in


def measured(together, memory, speed, beside=None, batch=32):
    """A trial with its share of a GPU whose other places are taken, unless `beside` says not."""
    taken = (together - 1) * memory if beside is None else beside
    return Measured(1 / together, memory, taken, speed, batch)


ALONE = measured(1, 0.2, 1000.0)


def test_the_first_trial_is_alone_and_the_second_shares_where_two_fit():
    assert choose([], 32).share == 1
    assert choose([ALONE], 32).share == 0.5
    whole = choose([measured(1, 0.5, 1000.0)], 32)
    assert whole.share == 1
    assert "50%" in whole.why


@pytest.mark.parametrize(
    ("speeds", "share"),
    [
        ({1: 1000, 2: 900}, 0.25),  # two do 1.8 times the work of one: four are tried
        ({1: 1000, 2: 540}, 1),  # 1.08 times is not worth it
        ({1: 1000, 2: 900, 4: 480}, 0.5),  # four do 1.07 times the work of two
        ({1: 1000, 2: 900, 4: 700}, 0.25),  # 1.6 times, and eight do not fit
    ],
)
def test_twice_as_many_share_while_they_are_faster_together(speeds, share):
    found = choose([measured(count, 0.2, speed) for count, speed in speeds.items()], 32)
    assert found.share == share


def test_more_than_eight_never_share():
    speeds = {1: 1000, 2: 1000, 4: 1000, 8: 1000}
    found = choose([measured(count, 0.01, speed) for count, speed in speeds.items()], 32)
    assert found.share == 1 / 8
    assert "8.00 times as fast as one" in found.why


def test_a_trial_that_shared_with_nobody_does_not_measure_sharing():
    lonely = measured(2, 0.2, 1000.0, beside=0.0)
    assert choose([ALONE, lonely], 32).share == 0.5
    assert choose([ALONE, lonely, measured(2, 0.2, 500.0)], 32).share == 1


def test_trials_that_went_on_with_another_share_leave_none_alone():
    assert choose([measured(2, 0.2, 500.0)], 32).share == 0.25
    assert choose([measured(2, 0.2, 500.0)], 96).share == 1  # a larger batch
    assert "no two" not in choose([measured(2, 0.2, 500.0, beside=0.0)], 32).why


def test_the_highest_memory_of_all_counts_and_that_of_a_larger_batch_is_scaled():
    assert choose([ALONE, measured(1, 0.46, 1000.0)], 32).share == 1
    assert choose([ALONE], 64).share == 0.5
    assert choose([ALONE], 96).share == 1
    assert choose([ALONE], 8).share == 0.5


def test_speed_is_of_images_so_that_batches_of_any_size_are_compared():
    rows = {
        "trial": list("abcd"), "dataset": "PACS", "model": "resnet50",
        "algorithm": ["SAM", "SAM", "ERM", "ERM"], "held_out": ["photo", "cartoon", "a/b", "a/b"],
        "gpu": [1.0, 0.5, 1.0, None], "gpu_memory": [0.2, 0.2, 0.1, None],
        "gpu_beside": [0.0, 0.2, 0.0, None], "passes": [100.0, 200.0, 50.0, 50.0],
        "seconds": [10.0, 10.0, 10.0, 10.0], "hp_batch_size": [32, 16, None, 32],
    }  # fmt: skip
    found = measured_in(pd.DataFrame(rows), 8)
    sam, erm = found["PACS", "resnet50", "SAM", 1], found["PACS", "resnet50", "ERM", 2]
    assert {name: own.speed for name, own in sam.items()} == {"a": 320.0, "b": 320.0}
    assert {name: (own.speed, own.batch) for name, own in erm.items()} == {"c": (40.0, 8)}
    assert measured_in(pd.DataFrame(rows).drop(columns="gpu_memory"), 8) == {}
