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


SECONDS = 2


def test_a_process_that_holds_pythons_lock_is_ended_and_one_with_signs_of_life_is_not():
    """It gives signs of life for longer than it may be silent, rests for longer than that while it
    is suspended and once more when nobody watches, and then holds the lock and never ends.
    """
    code = f"""
import ctypes, time
from search.worker.limits import HangLimit
limit = HangLimit({SECONDS})
with limit.watching():
    for sign in range(4):
        time.sleep({SECONDS} / 3)
        with limit.suspended():
            print("alive", flush=True)
            time.sleep(1.2 * {SECONDS} if sign == 0 else 0)
time.sleep(1.2 * {SECONDS})
print("not watched", flush=True)
with limit.watching():
    with limit.suspended():
        pass
    ctypes.PyDLL(None).sleep(600)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert ended.stdout.split("\n")[:-1] == ["alive"] * 4 + ["not watched"]
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "File" in ended.stderr  # where it hung
