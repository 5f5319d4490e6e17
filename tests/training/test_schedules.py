from __future__ import annotations

import math

import pytest

from training.schedules import Schedule


def written_out(shape: str, step: int, steps: int, warmup: int, low: float, high: float) -> float:
    """The radius as the released schedulers of GSAM and SAGM compute it."""
    if step < warmup:
        return high * step / warmup
    done = (step - warmup) / (steps - warmup)
    if shape == "linear":
        return high + (low - high) * done
    return low + (high - low) * (math.cos(math.pi * done) + 1) / 2


@pytest.mark.parametrize("warmup", [0, 1, 4])
@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_radius_follows_the_released_schedulers(shape, warmup):
    schedule = Schedule(shape, 10, warmup, floor=0.05 / 0.3)

    radii = [0.3 * schedule(step) for step in range(10)]

    expected = [written_out(shape, step, 10, warmup, 0.05, 0.3) for step in range(10)]
    assert radii == pytest.approx(expected, abs=1e-12)


def test_warm_up_starts_at_zero_and_ends_at_one():
    schedule = Schedule("constant", 10, warmup=4)

    assert [schedule(step) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_beyond_its_horizon_a_schedule_stays_at_the_floor(shape):
    schedule = Schedule(shape, 10, floor=0.2)

    assert [schedule(step) for step in (10, 11, 1000)] == pytest.approx([0.2] * 3)


def test_steps_drop_at_fractions_of_the_run():
    schedule = Schedule("step", 10, drop_at=(0.3, 0.7), drop=0.5)

    assert [schedule(step) for step in range(10)] == [1] * 3 + [0.5] * 4 + [0.25] * 3


def test_steps_drop_as_disams_trainer_does_unless_told_otherwise():
    schedule = Schedule("step", 50)

    assert [schedule(step) for step in (0, 39, 40, 49)] == pytest.approx([1, 1, 0.1, 0.1])


@pytest.mark.parametrize("steps", [7, 100, 5000])
def test_a_fraction_that_is_a_whole_step_drops_at_that_step(steps):
    for at in range(1, steps, max(steps // 50, 1)):
        schedule = Schedule("step", steps, drop_at=(at / steps,))
        assert (schedule(at - 1), schedule(at)) == (1, 0.1)


def test_a_warm_up_comes_before_the_drops():
    schedule = Schedule("step", 10, warmup=2, drop_at=(0.5,))

    assert [schedule(step) for step in (0, 1, 2, 4, 5)] == [0, 0.5, 1, 1, 0.1]


@pytest.mark.parametrize("wrong", [{"drop": 1.5}, {"drop_at": (0.5, 1.0)}, {"drop_at": (0.0,)}])
def test_drops_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="0 <= drop <= 1 and 0 < drop_at < 1 must hold"):
        Schedule("step", 10, **wrong)


def test_an_unknown_shape_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"constant, linear, cosine, step, but got 'exp'"):
        Schedule("exp")


@pytest.mark.parametrize("warmup", [-1, 10, 11])
def test_a_warm_up_outside_the_run_is_refused(warmup):
    with pytest.raises(ValueError, match=rf"warmup={warmup}, steps=10"):
        Schedule("linear", 10, warmup)


@pytest.mark.parametrize("floor", [-0.1, 1.1])
def test_a_floor_that_is_no_fraction_is_refused(floor):
    with pytest.raises(ValueError, match=rf"floor={floor}"):
        Schedule("linear", 10, floor=floor)
