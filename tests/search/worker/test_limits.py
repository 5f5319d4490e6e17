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


@pytest.fixture(scope="module")
def ended() -> dict[int, tuple[int, str, str]]:
    """Two processes at once that give 3 and 5 signs of life; code, output and errors of each.

    After 3 one holds Python's lock and never ends. Once each rests for longer than it may be
    silent.
    """
    code = f"""
import re, sys, time
from search.worker.limits import HangLimit
limit, signs = HangLimit({SECONDS}), int(sys.argv[1])
with limit.watching():
    for sign in range(signs):
        time.sleep({SECONDS} / 3)
        with limit.suspended():
            print("alive", flush=True)
            time.sleep(1.2 * {SECONDS} if sign == 0 else 0)
    if signs < 4:
        re.match("(a+)+b", "a" * 64)
"""
    begun = {
        signs: subprocess.Popen(
            [sys.executable, "-c", code, str(signs)],
            cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for signs in (3, 5)
    }  # fmt: skip
    said = {signs: process.communicate(timeout=600) for signs, process in begun.items()}
    return {signs: (process.returncode, *said[signs]) for signs, process in begun.items()}


def test_a_process_that_hangs_while_it_holds_pythons_lock_is_ended(ended):
    code, output, errors = ended[3]
    assert code == 1
    assert output.count("alive") == 3
    assert "Timeout" in errors
    assert "re.match" in errors or "File" in errors  # where it hung


def test_one_that_shows_signs_of_life_is_not(ended):
    code, output, _ = ended[5]
    assert (code, output.count("alive")) == (0, 5)
