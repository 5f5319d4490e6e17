"""The Optuna storage of a sweep: one journal for all of its studies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from search.errors import UserError
from search.run.block_journal import FIRST_BLOCK, BlockJournal
from search.run.retries import insist
from search.run.run_folder import RunFolder

JOURNAL = "optuna.journal"


class SweepStorage(JournalStorage):
    """Optuna's storage of all studies of a sweep."""

    def __init__(self, backend: BaseJournalBackend) -> None:
        super().__init__(backend)
        self._journal = backend

    def flush(self) -> None:
        """After this, what was recorded is found also by a driver on another machine.

        To be called before a trial is handed out: whatever its worker writes, the storage knows its
        number and its values. What else has not been flushed when a driver dies is in the tables
        and checkpoints, and told again. Raises StoreError.
        """
        if isinstance(self._journal, BlockJournal):
            self._journal.flush()


def begun(folder: RunFolder) -> bool:
    """Whether a driver has recorded anything in a run."""
    file = _file(folder)
    if file is None:
        return bool(folder.list(JOURNAL)) or (not folder.local and folder.exists(JOURNAL))
    return file.exists() and file.stat().st_size > 0


def open_for_writing(folder: RunFolder) -> SweepStorage:
    """The storage of the one driver that holds the run's lease.

    A driver that was killed may have left a torn last line, after which Optuna could read nothing
    that is written, and a lock that nobody holds: both are removed. Raises UserError for a file
    that is no journal.
    """
    file = _file(folder)
    if file is None:
        return _open_blocks(folder)
    if file.exists():
        _cut_torn_line(file)
    # Optuna's lock is a link beside the journal, renamed while it is let go.
    for leftover in file.parent.glob(f"{JOURNAL}.lock*"):
        leftover.unlink()
    return _open_file(file, folder)


def open_for_reading(folder: RunFolder) -> BaseStorage:
    """The storage as another process sees it while the driver may be writing.

    Empty if no trial has begun: reading makes no file. Raises UserError for a file that is no
    journal.
    """
    if not begun(folder):
        return InMemoryStorage()
    file = _file(folder)
    return _open_blocks(folder) if file is None else _open_file(file, folder)


class _File(JournalFileBackend):
    """A journal file that outlives a full disk: what was written of a line is cut off again."""

    def __init__(self, file: Path, folder: RunFolder) -> None:
        super().__init__(str(file))
        self._file = file
        self._folder = folder

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        size = self._file.stat().st_size
        torn = False

        def append() -> None:
            nonlocal torn
            if torn:
                os.truncate(self._file, size)
            torn = True
            JournalFileBackend.append_logs(self, logs)

        insist(append, f"write {self._file}", self._folder.uri, local=True)


def _file(folder: RunFolder) -> Path | None:
    """Where the journal is one file: on a disk. None: blocks, also in a run copied from a store."""
    file = Path(folder.path(JOURNAL))
    return None if not folder.local or file.is_dir() else file


def _open_file(file: Path, folder: RunFolder) -> SweepStorage:
    try:
        # Optuna passes over a last line that it cannot read.
        for line in file.read_bytes().split(b"\n")[-2:-1] if file.exists() else []:
            json.loads(line)
        return SweepStorage(_File(file, folder))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(str(file), error) from error


def _open_blocks(folder: RunFolder) -> SweepStorage:
    if not folder.local and not folder.list(JOURNAL) and folder.exists(JOURNAL):
        raise UserError(
            f"{folder.path(JOURNAL)} is one file, as on a disk, where this run was copied from; "
            f"move it to {JOURNAL}/{FIRST_BLOCK} to go on with the run in the store"
        )
    try:
        return SweepStorage(BlockJournal(folder, JOURNAL))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder.path(JOURNAL), error) from error


def _cut_torn_line(file: Path) -> None:
    with file.open("rb+") as stream:
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            if content[whole : whole + 1] != b"{":
                raise _damaged(str(file), "its last line is none of Optuna's")
            stream.truncate(whole)


def _damaged(journal: str, why: object) -> UserError:
    return UserError(
        f"{journal} is damaged: {why}; put a copy back, or begin a new run in another folder"
    )
