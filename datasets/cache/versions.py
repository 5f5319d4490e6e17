"""Where the caches of a dataset lie, and how one comes to be: filled aside, then renamed.

A version is a folder named by the key of what it was made from. It is there whole or not at all.
Caches lie beside the dataset, in `.steppe-cache/`, so that whoever finds the data finds them. Where
nothing can be written there, they lie in the user's cache folder; where STEPPE_CACHE names a
folder, there first.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets.domain_dataset import DatasetError

FOLDER = ".steppe-cache"
VARIABLE = "STEPPE_CACHE"


def homes(beside: Path, folder: Path, name: str) -> tuple[Path, ...]:
    """Folders in which a cache called `name` may lie, the first choice first.

    beside: where the folder `.steppe-cache` goes.
    folder: the dataset's, whose path tells caches in shared places apart.
    name: of the dataset and of what is made of it.
    """
    path = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    chosen = os.environ.get(VARIABLE)
    elsewhere = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steppe"
    return (
        *((Path(chosen).expanduser() / f"{name}-{path}",) if chosen else ()),
        beside / FOLDER / name,
        elsewhere / f"{name}-{path}",
    )


def writable(homes: tuple[Path, ...]) -> Path:
    """The first of the folders that can be written to; it is made.

    Raises DatasetError: none can be.
    """
    for home in homes:
        try:
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=home):
                return home
        except OSError:
            continue
    listed = ", ".join(str(home) for home in homes)
    raise DatasetError(
        f"no cache of decoded images can be written to {listed}; "
        f"set {VARIABLE} to a folder that can be written to"
    )


log = logging.getLogger("steppe")

PARTIAL = ".partial"
LOCK = "lock"


def versions(home: Path) -> list[Path]:
    """Folders of whole versions."""
    if not home.is_dir():
        return []
    return sorted(path for path in home.iterdir() if path.is_dir() and path.suffix != PARTIAL)


def build(home: Path, key: str, fill: Callable[[Path], None]) -> Path:
    """The version `key`, made by `fill` if there is none.

    `fill` gets a folder and leaves the whole version in it. It finds there what an earlier call
    that was interrupted had written. Processes wait for each other; where the file system has no
    locks each fills a folder of its own, and the first to finish wins.

    Raises DatasetError: the disk is full.
    """
    version = home / key
    with _lock(home / LOCK) as locked:
        if version.exists():  # another process made it while this one waited
            return version
        own = "" if locked else f".{socket.gethostname()}.{os.getpid()}"
        partial = home / f"{key}{own}{PARTIAL}"
        partial.mkdir(exist_ok=True)
        try:
            fill(partial)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise no_room(partial) from error
        try:
            partial.rename(version)
        except OSError:
            if not version.exists():
                raise
            shutil.rmtree(partial)  # another process was first
        if locked:
            _remove_others(home, version)
    return version


def check_room(folder: Path, size: int) -> None:
    """Raises DatasetError if a version of about `size` bytes cannot be finished in `folder`."""
    files = [*folder.glob("*.images.npy"), *folder.glob("*.originals.bin")]
    needed = size - sum(path.stat().st_size for path in files)
    if needed > shutil.disk_usage(folder).free:  # better known now than after an hour of decoding
        raise no_room(folder, needed)


def no_room(folder: Path, needed: int | None = None) -> DatasetError:
    """The error for a full disk; `needed`: bytes still to be written, if that is known."""
    free = shutil.disk_usage(folder).free
    need = "" if needed is None else f", which needs {needed / 1e9:.1f} GB more"
    return DatasetError(
        f"no room on the disk for the cache {folder}{need} ({free / 1e9:.1f} GB are free); make "
        "room, choose a smaller dataset.originals (0 keeps none), or set STEPPE_CACHE to a folder "
        "on another disk. What was written stays, and the next call goes on from it"
    )


def _remove_others(home: Path, version: Path) -> None:
    # Maps that other processes hold of an old version stay valid until they close them.
    for path in home.iterdir():
        if path.is_dir() and path != version:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Waits for the lock and holds it; False where the file system has no locks."""
    with path.open("a") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting:
                    log.warning("another process builds the cache in %s: waiting", path.parent)
                waiting = True
                time.sleep(0.1)
            except OSError:
                yield False
                return
            else:
                yield True
                return
