"""Brings a dataset's images to where trials read them, and decodes them."""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.progress import DownloadColumn
from rich.table import Table

import datasets
from datasets.archive import find_dataset, unpack
from datasets.domain_dataset import DomainDataset
from datasets.download import download
from datasets.further_benchmarks import KNOWN
from datasets.mnist import FILES as MNIST_FILES
from datasets.spelling import shown
from search.errors import SteppeError, way_out
from search.screen import console, printable
from search.sweep.config_errors import show
from search.sweep.per_dataset import originals as originals_of

DEFAULT_ROOT = Path("data")
DOWNLOAD = "download"  # the source that has torchvision download MNIST


def prepare(
    dataset: str,
    source: str,
    root: Path | None = None,
    size: int | None = None,
    allow: Sequence[str] | None = None,
    originals: int | None = None,
) -> None:
    """Checks a dataset's images and decodes each once; the arguments are those of the command.

    Raises SteppeError for images that are not there or not as they should be.
    """
    from search.checks.open_datasets import decoded, errors_of_images

    entry = datasets.DATASETS.get(dataset)
    if entry is None:
        raise SteppeError(f"DATASET is {dataset}; {way_out(dataset, datasets.DATASETS)}")
    if entry.cache is None:
        raise SteppeError(f"{dataset} is bundled: there is nothing to prepare")
    began = time.monotonic()
    allowed = allow or []
    with errors_of_images():
        place = _root_of(dataset, source, root)
        found, folder = decoded(
            dataset, place, size, allowed, originals=originals_of(dataset, originals)
        )
    assert folder is not None
    _print_table(found)
    given = {"name": dataset, "root": str(place), "size": size, "allow": allowed}
    keys = {key: value for key, value in given.items() if value not in (None, [])}
    if originals is not None:
        keys["originals"] = originals
    _print_summary(found, folder, keys, time.monotonic() - began)


def _root_of(name: str, source: str, root: Path | None) -> Path:
    """The root of the dataset, once what `source` names lies there."""
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
    # A folder for each URL, as another one may end in the same name.
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    from search.checks.open_datasets import progress_bar

    with progress_bar("fetching", DownloadColumn()) as progress:
        archive = download(url, root.expanduser() / f".steppe-download-{digest}", progress)
    place = _unpack(name, archive, root)
    archive.unlink()
    archive.parent.rmdir()
    return place


def _unpack(name: str, archive: Path, root: Path) -> Path:
    """Unpacks into a temporary folder, and moves the dataset's part of it to its place."""
    target = _target(name, str(archive), root)
    benchmark = KNOWN.get(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".steppe-unpack-", dir=target.parent) as aside,
        console().status(f"unpacking {escape(shown(archive.name))}"),
    ):
        unpack(archive, Path(aside) / "all")
        find_dataset(Path(aside) / "all", benchmark.inside if benchmark else ()).rename(target)
    return target


def _target(name: str, source: str, root: Path) -> Path:
    """The folder that an archive of the dataset is unpacked to."""
    if name.endswith("MNIST"):
        raise SteppeError(
            f"SOURCE of {name} must be the folder that holds {', '.join(MNIST_FILES)}, "
            f"or `{DOWNLOAD}`"
        )
    benchmark = KNOWN.get(name)
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


def _print_table(dataset: DomainDataset) -> None:
    table = Table(title=dataset.name, title_justify="left")
    for column in ("domain", "images", "classes"):
        table.add_column(column, justify="left" if column == "domain" else "right")
    for domain in dataset.domains:
        classes = len(set(domain.labels.tolist()))
        table.add_row(printable(domain.name), f"{len(domain):,}", str(classes))
    console().print(table)
    for note in dataset.notes:
        console().print(f"Note: {printable(note)}")


def _print_summary(
    dataset: DomainDataset, folder: Path, keys: Mapping[str, object], seconds: float
) -> None:
    """Prints what was decoded, where it lies, and what a sweep file says to use it.

    keys: of the section `dataset`. seconds: how long the preparation took.
    """
    from datasets.augmentation.in_words import doubt, in_words

    used = sum(path.stat().st_size for path in folder.iterdir())
    count = sum(len(domain) for domain in dataset.domains)
    channels, height, width = dataset.image_shape
    lines = [
        f"{count:,} images, {len(dataset.classes)} classes, {channels} x {height} x {width}, "
        f"{seconds:.1f} s",
        f"Cache: {folder} ({used / 1e6:,.0f} MB)",
        f"Fingerprint: {dataset.fingerprint}",
        f"In training: {in_words(dataset, 'auto')} (training.augmentation)",
        f"In the sweep file: dataset: {show(dict(keys), longest=None)}",
    ]
    warning = doubt(dataset, "training.augmentation")
    if warning is not None:
        lines.append(warning)
    for line in lines:
        console().print(line, soft_wrap=True)
