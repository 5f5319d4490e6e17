"""Where the caches of a dataset lie.

Beside the dataset, in `.steppe-cache/`: who finds the data finds the cache. Where nothing can be
written there, in the user's cache folder; where STEPPE_CACHE names a folder, there first.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from datasets.dataset_error import DatasetError

FOLDER = ".steppe-cache"
VARIABLE = "STEPPE_CACHE"


def homes(beside: Path, folder: Path, name: str) -> tuple[Path, ...]:
    """Folders in which a cache called `name` may lie, the first choice first.

    Args:
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

    Raises:
        DatasetError: none can be.
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
