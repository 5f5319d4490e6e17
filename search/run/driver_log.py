"""The driver's log in the run folder. What cannot be written there never ends what it is about."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from search.run.run_folder import RunFolder

LOG = "driver.log"
WRITE_SECONDS = 30.0


def driver_log(folder: RunFolder) -> logging.Handler:
    """Where the driver of a run logs to; no file is made before there is something to log."""
    handler = DiskLog(folder.path(LOG), delay=True) if folder.local else StoreLog(folder, LOG)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


class DiskLog(logging.FileHandler):
    """A file that grows line by line; on a disk that is full, it does not."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass  # the base class prints a traceback

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class StoreLog(logging.Handler):
    """Where no file can grow: kept in memory, written whole every WRITE_SECONDS and when closed.

    It goes on behind what is there.
    """

    def __init__(self, folder: RunFolder, name: str) -> None:
        super().__init__()
        self._folder = folder.hasty()
        self._name = name
        self._text: str | None = None  # None: not read yet
        self._new = ""
        self._written = -WRITE_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        self._new += self.format(record) + "\n"
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self._write()

    def close(self) -> None:
        self.acquire()
        try:
            self._write()
        finally:
            self.release()
        super().close()

    def _write(self) -> None:
        if not self._new:
            return
        self._written = time.monotonic()
        try:
            if self._text is None:
                self._text = self._before()
            self._folder.write_bytes(self._name, (self._text + self._new).encode())
        except OSError:
            return  # tried again with the next line
        self._text, self._new = self._text + self._new, ""

    def _before(self) -> str:
        try:
            return self._folder.read_bytes(self._name).decode(errors="replace")
        except FileNotFoundError:
            return ""
