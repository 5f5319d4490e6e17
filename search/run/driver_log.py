"""The driver's log in the run folder. A failure to write it never ends the sweep."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from search.run.run_folder import RunFolder

LOG = "driver.log"
WRITE_SECONDS = 30.0


def driver_log(folder: RunFolder) -> logging.Handler:
    """The log handler of a run's driver; its file is created with the first record."""
    handler = DiskLog(folder.path(LOG), delay=True) if folder.local else StoreLog(folder, LOG)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


class DiskLog(logging.FileHandler):
    """A log file on a disk; records are dropped while the disk is full."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record, if the disk takes it."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Does nothing, where the base class prints a traceback."""

    def close(self) -> None:
        """Closes the file."""
        with suppress(OSError):
            super().close()


class StoreLog(logging.Handler):
    """A log in an object store: kept in memory, written whole every WRITE_SECONDS and on closing.

    It is appended to the log that is there already.
    """

    def __init__(self, folder: RunFolder, name: str) -> None:
        super().__init__()
        self._folder = folder.without_retries()
        self._name = name
        self._text: str | None = None  # None: not read yet
        self._new = ""
        self._written = -WRITE_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record, and writes the log if it is time."""
        self._new += self.format(record) + "\n"
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self._write()

    def close(self) -> None:
        """Writes the rest of the log."""
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
            return  # retried with the next record
        self._text, self._new = self._text + self._new, ""

    def _before(self) -> str:
        try:
            return self._folder.read_bytes(self._name).decode(errors="replace")
        except FileNotFoundError:
            return ""
