"""A trial that takes too much memory, or hangs, is stopped and says so."""

from __future__ import annotations

import mmap
import subprocess
import sys

import numpy as np
import pytest

from search.worker.limits import GIGABYTE, MemoryLimit, own_memory
from tests.search.command import CHECKOUT


def test_memory_is_that_of_this_process_alone(tmp_path):
    before = own_memory()
    shared = np.memmap(tmp_path / "images", np.uint8, "w+", shape=(200_000_000,))
    shared[:] = 1
    assert own_memory() - before < 50_000_000
    own = mmap.mmap(-1, 200_000_000, flags=mmap.MAP_PRIVATE)  # an array may take freed memory
    np.frombuffer(own, np.uint8)[:] = 1
    assert own_memory() - before > 190_000_000
    del shared


def test_a_trial_that_holds_more_than_it_may_fails_with_a_sentence(monkeypatch):
    MemoryLimit(None).check()
    MemoryLimit(1e6).check()
    limit = MemoryLimit(own_memory() / GIGABYTE / 2)
    with pytest.raises(MemoryError, match=r"holds \d+\.\d\d GB, where resources\.memory allows \d"):
        limit.check()
    limit.check()  # it looks twice a second, not at every step


def hang(seconds: float, signs: int) -> subprocess.CompletedProcess[str]:
    """A process that gives signs of life for a while, then holds Python's lock and never ends.

    Once it rests for longer than it may be silent.
    """
    code = f"""
import re, time
from search.worker.limits import HangLimit
limit = HangLimit({seconds})
with limit.watching():
    for sign in range({signs}):
        time.sleep({seconds} / 3)
        with limit.suspended():
            print("alive", flush=True)
            time.sleep(1.2 * {seconds} if sign == 0 else 0)
    if {signs} < 4:
        re.match("(a+)+b", "a" * 64)
"""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=600
    )


def test_a_process_that_hangs_while_it_holds_pythons_lock_is_ended():
    done = hang(2, signs=3)
    assert done.returncode == 1
    assert done.stdout.count("alive") == 3
    assert "Timeout" in done.stderr
    assert "re.match" in done.stderr or "File" in done.stderr  # where it hung


def test_one_that_shows_signs_of_life_is_not():
    done = hang(2, signs=5)
    assert (done.returncode, done.stdout.count("alive")) == (0, 5)
