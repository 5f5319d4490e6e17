"""Opens datasets: images are checked and decoded first, where that has not been done."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

import datasets
from datasets.cache import contents
from datasets.domain_dataset import DomainDataset
from search.errors import SteppeError
from search.screen import console
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Dataset, Sweep

INDEX = "index.parquet"
SCHEMA_VERSION = 1

_FIELDS = [
    ("domain", pa.dictionary(pa.int16(), pa.string())),
    ("class", pa.dictionary(pa.int16(), pa.string())),
    ("label", pa.int64()),
    ("file", pa.string()),  # from the domain's folder
    ("state", pa.dictionary(pa.int8(), pa.string())),  # whole, truncated, unreadable
    ("width", pa.int64()),
    ("height", pa.int64()),
    ("bytes", pa.int64()),
    ("sha256", pa.string()),  # of the file
    ("pixels", pa.string()),  # sha256 of the pixels in the cache
    ("reason", pa.string()),  # why it is not whole
]


def open_datasets(sweep: Sweep) -> list[DomainDataset]:
    """The datasets of a sweep, in the order of its file; prints what was found in their images.

    Raises SteppeError with all that is wrong with any of them.
    """
    found, errors = [], []
    for one in by_dataset(sweep).values():
        try:
            dataset = open_dataset(one.dataset)
        except SteppeError as error:
            errors.append(str(error))
            continue
        for note in dataset.notes:
            print(f"{one.dataset.name}: {note}", flush=True)
        found.append(dataset)
    if errors:
        raise SteppeError("\n".join(errors))
    return found


def open_dataset(given: Dataset) -> DomainDataset:
    """The dataset of a section `dataset`; a progress bar shows the decoding of its images.

    Raises SteppeError if it is not there, has findings that are not allowed, or cannot be decoded.
    """
    with errors_of_images():
        return decoded(
            given.name, given.root, given.size, given.allow, originals=given.originals or 0
        )[0]


def decoded(
    name: str, root: Path | None, size: int | None, allow: Collection[str], *, originals: int
) -> tuple[DomainDataset, Path | None]:
    """A dataset and the folder of its decoded images; None if it is decoded nowhere.

    Raises as `datasets.load` does.
    """
    with progress_bar("decoding", MofNCompleteColumn()) as progress:
        folder = datasets.prepare(name, root, size, allow, progress, originals=originals)
    if folder is not None:
        write_index(folder)  # also where images are unreadable: it says which
    return datasets.load(name, root, size, allow, originals=originals), folder


def write_index(folder: Path) -> Path | None:
    """Writes the index of decoded images as a Parquet table beside them, unless it is there.

    Returns its path; None if there are no image files, or the folder cannot be written.
    """
    table = folder / INDEX
    if table.exists():
        return table
    facts = contents.read_facts(folder)
    number = {label: i for i, label in enumerate(facts.classes)}
    columns: dict[str, list[Any]] = {field: [] for field, _ in _FIELDS}
    for domain in facts.domains:
        for row in contents.read_index(folder, domain):
            label = row.file.split("/", 1)[0]
            values = row._asdict() | {
                "domain": domain,
                "class": label,
                "label": number[label],
                "file": os.fsencode(row.file).decode("utf-8", "backslashreplace"),
            }
            for field, column in columns.items():
                column.append(values[field])
    if not columns["file"]:
        return None
    schema = pa.schema(_FIELDS, metadata={"schema_version": str(SCHEMA_VERSION)})
    aside = table.with_name(f"{INDEX}.{os.getpid()}")
    try:
        pq.write_table(pa.table(columns, schema), aside)
        aside.replace(table)
    except OSError as error:
        aside.unlink(missing_ok=True)
        if error.errno in (errno.EROFS, errno.EACCES):
            return None  # a cache that somebody else keeps
        raise
    return table


@contextmanager
def progress_bar(what: str, *columns: Any) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, drawn from the first call of what it gives: `progress(done, total)`."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console(),
    )
    task = bar.add_task(what, total=None)

    def progress(done: int, total: int) -> None:
        bar.start()
        bar.update(task, completed=done, total=total or None)

    try:
        yield progress
    finally:
        if bar.live.is_started:  # stopping one that never ran prints an empty line
            bar.stop()


@contextmanager
def errors_of_images() -> Iterator[None]:
    """Raises what reading or writing images raised as a SteppeError."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise SteppeError(str(error)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SteppeError(f"the disk is full: {error.filename or error}; make room") from error
        raise SteppeError(
            f"cannot read or write {error.filename or ''}: {error.strerror}"
        ) from error
