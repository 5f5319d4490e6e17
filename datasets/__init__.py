"""Datasets by name. A new one is a file with a description and a loader, and a line here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from datasets import image_folders, mnist, rotated_digits
from datasets.domain_dataset import DatasetError, Domain, DomainDataset
from datasets.entry import Description, Entry, Progress, Reading
from datasets.findings import KINDS, check_kinds
from datasets.further_benchmarks import KNOWN
from datasets.spelling import unknown_name

__all__ = [
    "DATASETS",
    "KINDS",
    "DatasetError",
    "Description",
    "Domain",
    "DomainDataset",
    "Entry",
    "describe",
    "load",
    "prepare",
]

DATASETS: dict[str, Entry] = {
    "RotatedDigits": Entry(rotated_digits.DESCRIPTION, lambda root, reading: rotated_digits.load()),
    "RotatedMNIST": mnist.ROTATED.entry(),
    "ColoredMNIST": mnist.COLORED.entry(),
    **{name: image_folders.entry(name, benchmark) for name, benchmark in KNOWN.items()},
    "ImageFolders": image_folders.entry("ImageFolders"),
}


def describe(name: str, root: str | Path | None = None) -> Description:
    """Domain names, number of classes, a sentence and the source, without reading pixels.

    Those of ImageFolders are found in the root; without one it has no domains and no classes.

    Raises ValueError: no dataset has this name; names the nearest one.
    Raises FileNotFoundError: a dataset described by its root is not there.
    """
    entry = _entry(name)
    if entry.look is not None and root is not None:
        return entry.look(Path(root))
    return entry.description


def load(
    name: str,
    root: str | Path | None = None,
    size: int | None = None,
    allow: Iterable[str] = (),
    recheck: bool = True,
    progress: Progress | None = None,
    *,
    originals: int = 0,
) -> DomainDataset:
    """The dataset, read from the folder `root`; a bundled dataset needs no root and ignores it.

    Images of files come from a cache, which the first call builds: later ones take milliseconds
    and map what is there.

    name: one of `DATASETS`.
    root: the dataset's folder, or the one it lies in.
    size: side in pixels of the square that each image is brought to, 224 if not given.
    allow: which of `KINDS` of findings are accepted.
    recheck: compare each file's size and time with what the cache was built from; False
    looks at the folders' times only, and is for workers whose driver has done it.
    progress: called with (images done, images in all) while a cache is built.
    originals: 0, or the shorter side in pixels of the images that are kept beside the squares, for
    training crops: larger ones are reduced to it, others are kept as they are.

    Raises ValueError: no dataset has this name, a size that it cannot have, or an unknown kind.
    Raises FileNotFoundError: the dataset is not in `root`.
    Raises DatasetError: (a ValueError) what is there is not as it should be, or no cache can be
    made.
    """
    return _entry(name).load(_path(root), _reading(name, size, allow, recheck, progress, originals))


def prepare(
    name: str,
    root: str | Path | None = None,
    size: int | None = None,
    allow: Iterable[str] = (),
    progress: Progress | None = None,
    *,
    originals: int = 0,
) -> Path | None:
    """The folder of the dataset's cache, built if need be; None if it has none.

    Arguments and errors as of `load`; but of images that cannot be read only `load` tells.
    """
    cache = _entry(name).cache
    reading = _reading(name, size, allow, True, progress, originals)
    return None if cache is None else cache(_path(root), reading)


def _reading(
    name: str,
    size: int | None,
    allow: Iterable[str],
    recheck: bool,
    progress: Progress | None,
    originals: int,
) -> Reading:
    if originals < 0 or (originals and not _entry(name).resizes):
        raise ValueError(
            f"dataset.originals of {name} is {originals}, but must be "
            f"{'at least 0' if _entry(name).resizes else 'left out: it has no files of images'}"
        )
    if size is not None and not _entry(name).resizes:
        raise ValueError(f"the images of {name} have one size: leave dataset.size out")
    if size is not None and size < 1:
        raise ValueError(f"dataset.size must be at least 1, but got {size}")
    return Reading(size, check_kinds(allow), recheck, progress, originals)


def _path(root: str | Path | None) -> Path | None:
    return None if root is None else Path(root)


def _entry(name: str) -> Entry:
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    return DATASETS[name]
