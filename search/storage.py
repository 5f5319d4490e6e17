"""The Optuna storage of a sweep: one journal file for all of its studies."""

from __future__ import annotations

from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def open_for_writing(journal: Path) -> JournalStorage:
    """The storage of the one driver that holds the run's lease.

    A driver that was killed may have left a torn last line, after which Optuna could read nothing
    that is written, and a lock that nobody holds: both are removed.
    """
    if journal.exists():
        _cut_torn_line(journal)
    # Optuna's lock is a link beside the journal, renamed while it is let go.
    for leftover in journal.parent.glob(f"{journal.name}.lock*"):
        leftover.unlink()
    return JournalStorage(JournalFileBackend(str(journal)))


def open_for_reading(journal: Path) -> JournalStorage:
    """The storage as another process sees it while the driver may be writing."""
    return JournalStorage(JournalFileBackend(str(journal)))


def _cut_torn_line(journal: Path) -> None:
    with journal.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
