"""What a trial may take, memory and time between two evaluations, and what it takes of its GPU."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

CHECK_SECONDS = 0.5
GIGABYTE = 10**9
CUDA_CONTEXT = 0.6e9  # bytes that CUDA itself takes for a process, which torch does not count


class MemoryLimit:
    """A limit on the memory that belongs to this process alone.

    gigabytes: the limit; None for no limit. Pages of mapped files, which the trials of a node
    share, do not count. Without /proc (not Linux) there is no limit.
    """

    def __init__(self, gigabytes: float | None) -> None:
        self._bytes = None if gigabytes is None else gigabytes * GIGABYTE
        self._next = 0.0

    def check(self) -> None:
        """Raises MemoryError above the limit. Call it at every step; it looks twice a second."""
        if self._bytes is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CHECK_SECONDS
        held = own_memory()
        if held > self._bytes:
            raise MemoryError(
                f"the trial holds {held / GIGABYTE:.2f} GB, where resources.memory allows "
                f"{self._bytes / GIGABYTE:g}; allow more, or set training.micro_batches"
            )


def own_memory() -> int:
    """Bytes of memory that belong to this process alone; 0 without /proc."""
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0
    resident, shared = int(pages[1]), int(pages[2])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


class HangLimit:
    """Ends this process if nothing calls `alive` for `seconds`; None for no limit.

    A thread outside Python does it, as hanging code may hold Python's lock. It writes the stack of
    each thread to the worker's log.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Applies the limit inside the block."""
        self.alive()
        try:
            yield
        finally:
            self._end()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspends the limit inside the block, and starts the time over after it."""
        self._end()
        try:
            yield
        finally:
            self.alive()

    def alive(self) -> None:
        """Starts the time over."""
        if self._seconds is not None:
            faulthandler.dump_traceback_later(self._seconds, exit=True)

    def _end(self) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()


def begin_measuring_gpu(device: str) -> None:
    """Forgets what earlier trials of this process took."""
    if device == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measured_on_gpu(device: str, share: float) -> dict[str, Any]:
    """The share of a GPU, the most that was taken since measuring began, what others hold now.

    The last two are fractions of the GPU's memory. By their columns in `trials`; none without one.
    """
    if device != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info()
    own = torch.cuda.memory_reserved() + CUDA_CONTEXT
    peak = torch.cuda.max_memory_reserved() + CUDA_CONTEXT
    beside = max(total - free - own, 0.0)
    return {"gpu": share, "gpu_memory": peak / total, "gpu_beside": beside / total}
