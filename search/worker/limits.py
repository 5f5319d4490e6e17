"""What a trial may take of its worker: memory, and time between two evaluations."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_SECONDS = 0.5
GIGABYTE = 10**9


class MemoryLimit:
    """Raises MemoryError once this process holds more than `gigabytes` of memory of its own.

    Pages of mapped files, which a node's trials share, are not counted. None: no limit; without
    /proc (not Linux) there is none either.
    """

    def __init__(self, gigabytes: float | None) -> None:
        self._bytes = None if gigabytes is None else gigabytes * GIGABYTE
        self._next = 0.0

    def check(self) -> None:
        """To be called at every step: it looks twice a second."""
        if self._bytes is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        held = own_memory()
        if held > self._bytes:
            raise MemoryError(
                f"the trial holds {held / GIGABYTE:.2f} GB, where resources.memory allows "
                f"{self._bytes / GIGABYTE:g}; allow more, or set training.micro_batches"
            )


def own_memory() -> int:
    """Bytes in memory that belong to this process alone."""
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0
    resident, shared = int(pages[1]), int(pages[2])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


class HangLimit:
    """Ends this process when it shows no sign of life for `seconds`; None: never.

    A thread outside Python does it, as what hangs may hold Python's lock. It writes to the worker's
    log where each thread was.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.alive()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """A time that does not count, and a sign of life after it."""
        self._end()
        try:
            yield
        finally:
            self.alive()

    def alive(self) -> None:
        """A sign of life."""
        if self._seconds is not None:
            faulthandler.dump_traceback_later(self._seconds, exit=True)

    def _end(self) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()
