import json
import threading
import time

import pytest

from search.errors import SteppeError
from search.run import wall_clock
from search.run.wall_clock import WALL_CLOCK, WallClock
from tests.search.command import wait_until


@pytest.fixture
def now(monkeypatch):
    """The time that a test sets."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_the_time_of_drivers_is_added_up_and_the_time_between_them_is_not(folder, now):
    assert wall_clock.read(folder) == 0
    for _ in range(2):
        now[0] += 5000
        with WallClock(folder, None, pytest.fail) as clock:
            now[0] += 30
            assert not clock.over
    assert wall_clock.read(folder) == 60


def test_it_is_over_when_all_drivers_together_have_spent_the_hours(folder, now):
    with WallClock(folder, 0.5, pytest.fail) as clock:
        now[0] += 1700
        assert not clock.over
    told = threading.Event()
    with WallClock(folder, 0.5, told.set) as clock:
        assert not told.is_set()
        now[0] += 101
        assert clock.over
    with WallClock(folder, 0.5, told.set) as clock:
        assert clock.over
        assert told.is_set()
    with WallClock(folder, 1, pytest.fail) as clock:
        assert not clock.over


def test_it_tells_when_the_hours_are_over_and_is_written_meanwhile(folder):
    told = threading.Event()
    with WallClock(folder, 0.01 / 3600, told.set) as clock:
        assert told.wait(120)
        assert clock.over
        assert wall_clock.read(folder) >= 0.01


def test_a_driver_that_is_killed_leaves_what_was_written_last(folder, monkeypatch):
    monkeypatch.setattr(wall_clock, "TICK_SECONDS", 0.01)
    with WallClock(folder, None, pytest.fail):
        wait_until(lambda: folder.exists(WALL_CLOCK), 120, "it is written")
        assert wall_clock.read(folder) > 0


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"seconds": NaN}', b'{"seconds": -1}'])
def test_a_damaged_clock_is_named_with_the_way_out(folder, content):
    folder.write_bytes(WALL_CLOCK, content)
    with pytest.raises(SteppeError, match=r"wall_clock.json, .* write it again"):
        WallClock(folder, None, pytest.fail)
    folder.write_bytes(WALL_CLOCK, json.dumps({"seconds": 3600}).encode())
    assert wall_clock.read(folder) == 3600
