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


@pytest.mark.parametrize(
    ("numbers", "factors"),
    [
        ({"warmup": 4}, [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]),
        ({"shape": "step", "drop_at": (0.3, 0.7), "drop": 0.5}, [1] * 3 + [0.5] * 4 + [0.25] * 3),
        ({"shape": "step"}, [1] * 8 + [0.1] * 2),  # as DISAM's trainer does
        ({"shape": "step", "warmup": 2, "drop_at": (0.5,)}, [0, 0.5, 1, 1, 1] + [0.1] * 5),
    ],
    ids=str,
)
def test_a_warm_up_rises_from_zero_and_steps_drop_at_fractions_of_the_run(numbers, factors):
    schedule = Schedule(steps=10, **numbers)

    assert [schedule(step) for step in range(10)] == pytest.approx(factors)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_beyond_its_horizon_a_schedule_stays_at_the_floor(shape):
    schedule = Schedule(shape, 10, floor=0.2)

    assert [schedule(step) for step in (10, 11, 1000)] == pytest.approx([0.2] * 3)


@pytest.mark.parametrize("steps", [7, 100, 5000])
def test_a_fraction_that_is_a_whole_step_drops_at_that_step(steps):
    for at in range(1, steps, max(steps // 50, 1)):
        schedule = Schedule("step", steps, drop_at=(at / steps,))
        assert (schedule(at - 1), schedule(at)) == (1, 0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(
            ({"shape": "step", **drop}, "0 <= drop <= 1 and 0 < drop_at < 1 must hold")
            for drop in ({"drop": 1.5}, {"drop_at": (0.5, 1.0)}, {"drop_at": (0.0,)})
        ),
        ({"shape": "exp"}, "constant, linear, cosine, step, but got 'exp'"),
        *(({"warmup": warmup}, f"warmup={warmup}, steps=10") for warmup in (-1, 10, 11)),
        *(({"floor": floor}, f"floor={floor}") for floor in (-0.1, 1.1)),
    ],
    ids=str,
)
def test_numbers_that_make_no_schedule_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Schedule(steps=10, **wrong)
