"""The total time that drivers have worked on a run."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from pydantic import BaseModel, Field

from search.errors import SteppeError
from search.run.json_files import parse
from search.run.run_folder import RunFolder

WALL_CLOCK = "wall_clock.json"
TICK_SECONDS = 60.0


class _Clock(BaseModel):
    seconds: float = Field(ge=0, allow_inf_nan=False)


class WallClock:
    """Counts the time inside a `with` block, on top of what earlier drivers of the run took.

    The time is written every minute, so the last minute of a killed driver is not counted. hours:
    the limit, None for none. on_end: called when the limit is reached, on entering or by a thread.
    Raises SteppeError if the file is damaged.
    """

    def __init__(self, folder: RunFolder, hours: float | None, on_end: Callable[[], None]) -> None:
        self._folder = folder.without_retries()
        self._most = None if hours is None else 3600 * hours
        self._on_end = on_end
        self._before = read(folder)
        self._began = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wall clock", daemon=True)

    def __enter__(self) -> WallClock:
        if self.over:
            self._on_end()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._write()

    @property
    def seconds(self) -> float:
        """Total time so far."""
        return self._before + time.monotonic() - self._began

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self._most is not None and self.seconds >= self._most

    def _run(self) -> None:
        while not self._stopped.wait(self._wait()):
            self._write()
            if self.over:
                self._on_end()

    def _wait(self) -> float:
        left = math.inf if self._most is None else self._most - self.seconds
        return min(TICK_SECONDS, left) if left > 0 else TICK_SECONDS

    def _write(self) -> None:
        with suppress(OSError):  # retried a minute later
            self._folder.write_bytes(WALL_CLOCK, json.dumps({"seconds": self.seconds}).encode())


def read(folder: RunFolder) -> float:
    """Total seconds so far, 0 before the first driver. Raises SteppeError for a damaged file."""
    try:
        return parse(folder.read_bytes(WALL_CLOCK), _Clock).seconds
    except FileNotFoundError:
        return 0.0
    except ValueError as error:
        raise SteppeError(
            f"{folder.path(WALL_CLOCK)}, the time that drivers have worked, cannot be read: "
            f'{error}; write it again, such as {{"seconds": 3600}}'
        ) from error
