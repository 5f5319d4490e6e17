"""How long drivers have been at work on a run, all together."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from search.errors import SteppeError
from search.run.run_folder import RunFolder

WALL_CLOCK = "wall_clock.json"
TICK_SECONDS = 60.0


class WallClock:
    """Runs inside a `with` block, from where the run's last driver let go; written every minute.

    `on_end` is called when `hours` are over, by a thread or on entering. A driver that is killed
    leaves its last minute out. Raises SteppeError on entering if the file is damaged.
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._write()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    @property
    def over(self) -> bool:
        """Whether all of its hours are spent."""
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
        with suppress(OSError):  # a minute later, perhaps
            self._folder.write_bytes(WALL_CLOCK, json.dumps({"seconds": self.seconds}).encode())


def read(folder: RunFolder) -> float:
    """Seconds so far; 0 if no driver has been at work. Raises SteppeError if damaged."""
    try:
        return float(json.loads(folder.read_bytes(WALL_CLOCK))["seconds"])
    except FileNotFoundError:
        return 0.0
    except (ValueError, KeyError, TypeError) as error:
        raise SteppeError(
            f"{folder.path(WALL_CLOCK)}, the time that drivers were at work, cannot be read: "
            f'{error!r}; write it anew, such as {{"seconds": 3600}}'
        ) from error
