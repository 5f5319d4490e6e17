"""The Optuna storage of a sweep: one journal file for all of its studies."""

from __future__ import annotations

import json
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from search.errors import UserError


def open_for_writing(journal: Path) -> JournalStorage:
    """The storage of the one driver that holds the run's lease.

    A driver that was killed may have left a torn last line, after which Optuna could read nothing
    that is written, and a lock that nobody holds: both are removed. Raises UserError for a file
    that is no journal.
    """
    if journal.exists():
        _cut_torn_line(journal)
    # Optuna's lock is a link beside the journal, renamed while it is let go.
    for leftover in journal.parent.glob(f"{journal.name}.lock*"):
        leftover.unlink()
    return _open(journal)


def open_for_reading(journal: Path) -> JournalStorage:
    """The storage as another process sees it while the driver may be writing.

    Raises UserError for a file that is no journal.
    """
    return _open(journal)


def _open(journal: Path) -> JournalStorage:
    try:
        # Optuna passes over a last line that it cannot read.
        for line in journal.read_bytes().split(b"\n")[-2:-1] if journal.exists() else []:
            json.loads(line)
        return JournalStorage(JournalFileBackend(str(journal)))
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(journal, error) from error


def _cut_torn_line(journal: Path) -> None:
    with journal.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            if content[whole : whole + 1] != b"{":
                raise _damaged(journal, "its last line is none of Optuna's")
            file.truncate(whole)


def _damaged(journal: Path, why: object) -> UserError:
    return UserError(
        f"{journal} is damaged: {why}; put a copy back, or begin a new run in another folder"
    )
