"""The Optuna storage of a sweep: one journal for all of its studies.

On a disk the journal is one file. An object store has no files that grow, so there it is written in
blocks (BlockJournal).
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from search.errors import SteppeError
from search.run.retries import retry
from search.run.run_folder import TRIALS, RunFolder

JOURNAL = "optuna.journal"
BLOCK_BYTES = 256 * 1024
FLUSH_SECONDS = 10.0
FIRST_BLOCK = "00000000.jsonl"
# What reading a damaged journal raises; Optuna asserts that it knows each kind of entry.
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, AssertionError)


class SweepStorage(JournalStorage):
    """Optuna's storage of all studies of a sweep."""

    def __init__(self, backend: BaseJournalBackend) -> None:
        collects = gc.isenabled()
        gc.disable()  # nothing of what is read is garbage, and looking for it takes a fifth
        try:
            super().__init__(backend)
        finally:
            gc.freeze()  # nor will it be: later collections need not go through it
            if collects:
                gc.enable()
        self._journal = backend

    def flush(self) -> None:
        """Makes everything recorded so far visible to a driver on another machine.

        Call it before a trial is handed out, so that the storage knows the number and the values of
        whatever a worker writes. If a driver dies, what was not flushed is in the tables and
        checkpoints and is recorded again. Raises StoreError.
        """
        if isinstance(self._journal, BlockJournal):
            self._journal.flush()


def begun(folder: RunFolder) -> bool:
    """Whether a driver has recorded anything in the run."""
    file = _file(folder)
    if file is None:
        return bool(folder.list(JOURNAL)) or (not folder.local and folder.exists(JOURNAL))
    return file.exists() and file.stat().st_size > 0


def open_for_writing(folder: RunFolder) -> SweepStorage:
    """Opens the storage for the driver that holds the run's lease.

    A killed driver may leave a torn last line, which would hide every later line from Optuna, and a
    stale lock. Both are removed. Raises SteppeError for a file that is not a journal.
    """
    file = _file(folder)
    if file is None:
        return _open_blocks(folder)
    if file.exists():
        _cut_torn_line(file)
    # Optuna's lock is a link beside the journal, which Optuna renames while it releases it.
    for leftover in file.parent.glob(f"{JOURNAL}.lock*"):
        leftover.unlink()
    return _open_file(file, folder)


def open_for_reading(folder: RunFolder) -> BaseStorage:
    """Opens the storage for a process other than the driver, which may be writing.

    The storage is empty if no trial has begun; no file is created. Raises SteppeError for a file
    that is not a journal, and if there is none although trials have ended.
    """
    if not begun(folder):
        if folder.list(TRIALS):
            raise SteppeError(
                f"{folder.uri} holds trials, but its {JOURNAL} is missing or empty; put a copy back"
            )
        return InMemoryStorage()
    file = _file(folder)
    return _open_blocks(folder) if file is None else _open_file(file, folder)


class FileJournal(JournalFileBackend):
    """A journal file that survives a full disk: a line that was written in part is cut off.

    Of what it has read it remembers only the end, where Optuna's own remembers each line.
    """

    def __init__(self, file: Path, folder: RunFolder) -> None:
        super().__init__(str(file))
        self._file = file
        self._folder = folder
        self._next = (0, 0)  # the number of the next line, and where it begins

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """The lines from this number on."""
        # JournalStorage never reads a line twice.
        number, place = self._next
        with self._file.open("rb") as stream:
            stream.seek(place)
            # Together: a million lines one by one take twice as long.
            while lines := stream.readlines(BLOCK_BYTES):
                if not lines[-1].endswith(b"\n"):
                    lines.pop()  # it is being written
                logs = json.loads(b"[" + b",".join(lines) + b"]")
                for line, log in zip(lines, logs, strict=True):
                    number, place = number + 1, place + len(line)
                    self._next = number, place
                    yield log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends lines, each whole or not at all."""
        size = self._file.stat().st_size
        torn = False

        def append() -> None:
            nonlocal torn
            if torn:
                os.truncate(self._file, size)
            torn = True
            JournalFileBackend.append_logs(self, logs)

        retry(append, f"write {self._file}", local=True)


class BlockJournal(BaseJournalBackend):
    """A journal in the folder `name` of a run, for one JournalStorage of one process.

    The blocks `00000000.jsonl`, `00000001.jsonl`, ..., joined, are what Optuna's own journal file
    would hold. The newest block is rewritten as one object until it is full. So the blocks are
    always a prefix of what the driver recorded: no line is torn, missing or repeated, and readers
    need no lock.

    This process sees an appended line at once. Others see it after `flush`, which appending calls
    every FLUSH_SECONDS. Raises SteppeError if a block is missing.
    """

    def __init__(self, folder: RunFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._unread: list[bytes] = []
        self._first = 0  # number of the first unread line
        self._number = 0
        self._block = bytearray()
        self._new = False
        self._flushed = time.monotonic()
        for self._number, block in enumerate(folder.list(name)):
            if block != self._file():
                raise SteppeError(
                    f"{folder.path(name)} is damaged: {self._file()} is missing, but there is "
                    f"{block}; put it back, or begin a new run in another folder"
                )
            self._block = bytearray(folder.read_bytes(f"{name}/{block}"))
            self._unread += bytes(self._block).splitlines(keepends=True)
        self._begin_next_if_full()

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The lines from this number on."""
        # JournalStorage never reads a line twice.
        del self._unread[: log_number_from - self._first]
        self._first = log_number_from
        return [json.loads(line) for line in self._unread]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends lines, and writes them to the store if it is time."""
        lines = [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
        self._unread += lines
        self._block += b"".join(lines)
        self._new = True
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes the lines that the store does not have yet. Raises StoreError."""
        if not self._new:
            return
        self._folder.write_bytes(f"{self._name}/{self._file()}", bytes(self._block))
        self._new = False
        self._flushed = time.monotonic()
        self._begin_next_if_full()

    def _begin_next_if_full(self) -> None:
        if len(self._block) >= BLOCK_BYTES:
            self._number += 1
            self._block = bytearray()

    def _file(self) -> str:
        return f"{self._number:08d}.jsonl"


def _file(folder: RunFolder) -> Path | None:
    """The journal if it is one file; None if it is in blocks, as on a store or copied from one."""
    file = Path(folder.path(JOURNAL))
    return None if not folder.local or file.is_dir() else file


def _open_file(file: Path, folder: RunFolder) -> SweepStorage:
    try:
        # Optuna ignores a last line that it cannot read.
        for line in file.read_bytes().split(b"\n")[-2:-1] if file.exists() else []:
            json.loads(line)
        return SweepStorage(FileJournal(file, folder))
    except _UNREADABLE as error:
        raise _damaged(str(file), error) from error


def _open_blocks(folder: RunFolder) -> SweepStorage:
    if not folder.local and not folder.list(JOURNAL) and folder.exists(JOURNAL):
        raise SteppeError(
            f"{folder.path(JOURNAL)} is one file, as in a run copied from a disk; "
            f"move it to {JOURNAL}/{FIRST_BLOCK} to continue the run in the store"
        )
    try:
        return SweepStorage(BlockJournal(folder, JOURNAL))
    except _UNREADABLE as error:
        raise _damaged(folder.path(JOURNAL), error) from error


def _cut_torn_line(file: Path) -> None:
    with file.open("rb+") as stream:
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole == len(content):
            return
        if content[whole : whole + 1] != b"{":
            raise _damaged(str(file), "its last line is not one of Optuna's")
        try:
            json.loads(content[whole:])
        except ValueError:
            stream.truncate(whole)
        else:
            stream.write(b"\n")  # of a line that is whole but for its end


def _damaged(journal: str, why: object) -> SteppeError:
    return SteppeError(
        f"{journal} is damaged: {why}; put a copy back, or begin a new run in another folder"
    )
