"""What a dataset's file gives to the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets.domain_dataset import DomainDataset

# Told (images done, images in all) while a cache is built.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Description:
    """What is known of a dataset before a pixel is read.

    domains: names, in the order of `DomainDataset.domains`.
    classes: the number of classes.
    sentence: what the dataset is, for lists.
    source: where its images come from.
    held_out: the domains that may be held out; empty: all.
    """

    domains: tuple[str, ...]
    classes: int
    sentence: str
    source: str
    held_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How a dataset is read from its folder.

    size: side in pixels of the square that each image is brought to; None: the usual one.
    allow: kinds of findings that the user accepts (see `datasets.findings`).
    recheck: whether each file's size and time are compared with what the cache was built
    from. A worker, whose driver has done that, looks only at the folders' times.
    progress: is told how far the building of a cache is.
    originals: shorter side in pixels to which the images that training crops are cut from are
    reduced if theirs is longer; 0: crops are cut from the squares.
    """

    size: int | None = None
    allow: frozenset[str] = frozenset()
    recheck: bool = True
    progress: Progress | None = None
    originals: int = 0


@dataclass(frozen=True)
class Entry:
    """A dataset of the registry.

    description: where it depends on the root, without domains and classes.
    load: reads the dataset from its root folder.
    cache: the folder of its decoded images, built if need be; None: it needs no cache.
    look: the description of what is in a root; None: the same for every root.
    needs_root: whether there is nothing to load without a root.
    resizes: whether `Reading.size` and `Reading.originals` mean something.
    cropped: as of `DomainDataset`; if not, originals are of no use.
    """

    description: Description
    load: Callable[[Path | None, Reading], DomainDataset]
    cache: Callable[[Path | None, Reading], Path] | None = None
    look: Callable[[Path], Description] | None = None
    needs_root: bool = False
    resizes: bool = False
    cropped: bool = True
