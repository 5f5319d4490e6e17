"""Brings a dataset's images from wherever they are to where trials map them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

import datasets
from datasets.archive import find_dataset, unpack
from datasets.augmentation.in_words import doubt, in_words
from datasets.benchmarks import BENCHMARKS
from datasets.cache import contents
from datasets.domain_dataset import DomainDataset
from datasets.download import download
from datasets.mnist import FILES as MNIST_FILES
from datasets.spelling import shown
from search.errors import SteppeError, way_out
from search.screen import console, printable
from search.sweep.config_errors import show

INDEX = "index.parquet"
SCHEMA_VERSION = 1
DEFAULT_ROOT = Path("data")
DOWNLOAD = "download"  # the source that has torchvision fetch MNIST

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


def prepare(
    name: str, source: str, root: Path | None, size: int | None, allow: Collection[str]
) -> None:
    """Verifies and decodes a dataset's images, and prints what there is.

    Args:
        name: of the dataset.
        source: a folder, a zip or tar archive, or a URL of one.
        root: where an archive is unpacked; `data` if not given.
        size: side in pixels of the images in the cache.
        allow: kinds of findings that are accepted.

    Raises SteppeError if there is no such dataset, source or room, or for findings not allowed.
    """
    entry = datasets.DATASETS.get(name)
    if entry is None:
        raise SteppeError(f"DATASET is {name}; {way_out(name, datasets.DATASETS)}")
    if entry.cache is None:
        raise SteppeError(f"{name} is bundled: there is nothing to prepare")
    began = time.monotonic()
    with _user_errors():
        place = _root_of(name, source, root)
        dataset, folder = _build(name, place, size, allow)
    assert folder is not None
    _print(dataset, folder, place, size, allow, time.monotonic() - began)


def load(
    name: str, root: Path | None, size: int | None = None, allow: Collection[str] = ()
) -> DomainDataset:
    """The dataset, with a progress bar if its cache must be built, and with the index as a table.

    Raises SteppeError as `prepare` does.
    """
    with _user_errors():
        return _build(name, root, size, allow)[0]


def write_index(folder: Path) -> Path | None:
    """Writes the index of a cache as Parquet, beside it, unless it is there; None: it has none."""
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


def _build(
    name: str, root: Path | None, size: int | None, allow: Collection[str]
) -> tuple[DomainDataset, Path | None]:
    with _bar("decoding", MofNCompleteColumn()) as progress:
        folder = datasets.prepare(name, root, size, allow, progress)
    if folder is not None:
        write_index(folder)  # also where images are unreadable: it says which
    return datasets.load(name, root, size, allow), folder


def _root_of(name: str, source: str, root: Path | None) -> Path:
    """The root that the dataset can be loaded from, once its source lies there."""
    if source == DOWNLOAD and name.endswith("MNIST"):
        return _download_mnist(root or DEFAULT_ROOT)
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", source)
    if scheme is None:
        path = Path(source).expanduser()
    elif scheme[1].lower() == "file":
        path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(source).path))
    elif scheme[1].lower() in ("http", "https"):
        return _fetch(name, source, root or DEFAULT_ROOT)
    else:
        raise SteppeError(
            f"SOURCE is {source}; it must be a folder, a zip or tar archive, or an address that "
            "begins with http://, https:// or file://"
        )
    if path.is_dir():
        if root is not None and root.expanduser().resolve() != path.resolve():
            raise SteppeError(
                f"SOURCE {source} is a folder and is used where it lies; leave --root out, which "
                "says where an archive is unpacked"
            )
        return path.absolute()
    if not path.exists():
        raise SteppeError(
            f"SOURCE {source} does not exist; it must be a folder, an archive or a URL"
        )
    return _unpack(name, path, root or DEFAULT_ROOT)


def _fetch(name: str, url: str, root: Path) -> Path:
    _target(name, url, root)
    # A folder for each address: another one may end in the same name.
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    with _bar("fetching", DownloadColumn()) as progress:
        archive = download(url, root.expanduser() / f".steppe-download-{digest}", progress)
    place = _unpack(name, archive, root)
    archive.unlink()
    archive.parent.rmdir()
    return place


def _unpack(name: str, archive: Path, root: Path) -> Path:
    """Unpacks aside, and moves what is the dataset's to its place."""
    target = _target(name, str(archive), root)
    benchmark = BENCHMARKS.get(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".steppe-unpack-", dir=target.parent) as aside,
        console().status(f"unpacking {escape(shown(archive.name))}"),
    ):
        unpack(archive, Path(aside) / "all")
        find_dataset(Path(aside) / "all", benchmark.domains if benchmark else ()).rename(target)
    return target


def _target(name: str, source: str, root: Path) -> Path:
    """Where a dataset goes that is unpacked."""
    if name.endswith("MNIST"):
        raise SteppeError(
            f"SOURCE of {name} must be the folder that holds {', '.join(MNIST_FILES)}, "
            f"or `{DOWNLOAD}`"
        )
    benchmark = BENCHMARKS.get(name)
    stem = re.sub(r"(\.tar)?\.\w+$", "", Path(urllib.parse.urlsplit(source).path).name)
    target = root.expanduser().absolute() / (benchmark.folder if benchmark else stem or "images")
    if target.exists():
        raise SteppeError(
            f"{target} exists already; use it with `python -m search prepare {name} {target}`, "
            "remove it, or choose another --root"
        )
    return target


def _download_mnist(root: Path) -> Path:
    from torchvision.datasets import MNIST

    root = root.expanduser().absolute()
    try:
        MNIST(str(root), download=True)
    except RuntimeError as error:
        raise SteppeError(f"MNIST cannot be fetched to {root}: {error}") from error
    return root


def _print(
    dataset: DomainDataset,
    folder: Path,
    root: Path,
    size: int | None,
    allow: Collection[str],
    seconds: float,
) -> None:
    screen = console()
    table = Table(title=dataset.name, title_justify="left")
    for column in ("domain", "images", "classes"):
        table.add_column(column, justify="left" if column == "domain" else "right")
    for domain in dataset.domains:
        table.add_row(
            printable(domain.name), f"{len(domain):,}", str(len(set(domain.labels.tolist())))
        )
    screen.print(table)
    for note in dataset.notes:
        screen.print(f"Note: {printable(note)}")
    used = sum(path.stat().st_size for path in folder.iterdir())
    count = sum(len(domain) for domain in dataset.domains)
    channels, height, width = dataset.image_shape
    given = {"name": dataset.name, "root": str(root), "size": size, "allow": list(allow)}
    keys = {key: value for key, value in given.items() if value not in (None, [])}
    lines = [
        f"{count:,} images, {len(dataset.classes)} classes, {channels} x {height} x {width}, "
        f"{seconds:.1f} s",
        f"Cache: {folder} ({used / 1e6:,.0f} MB)",
        f"Fingerprint: {dataset.fingerprint}",
        f"In training: {in_words(dataset, 'auto')} (training.augmentation)",
        f"In the sweep file: dataset: {show(keys, longest=None)}",
    ]
    warning = doubt(dataset, "training.augmentation")
    if warning is not None:
        lines.append(warning)
    for line in lines:
        screen.print(line, soft_wrap=True)


@contextmanager
def _bar(what: str, *columns: Any) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that appears with the first news."""
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
def _user_errors() -> Iterator[None]:
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
