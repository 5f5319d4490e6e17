"""What is known of the images of a sweep that is planned: they may not be there, or not decoded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import datasets
from datasets.domain_dataset import DomainDataset
from datasets.further_benchmarks import KNOWN
from datasets.image_folders import DEFAULT_SIZE
from search.checks.open_datasets import errors_of_images, open_dataset
from search.sweep.per_dataset import DatasetSweep, by_dataset
from search.sweep.schema import Sweep
from training.timing import stand_in

MNIST = {"RotatedMNIST": 1, "ColoredMNIST": 2}  # channels
MNIST_IMAGES, MNIST_SIZE = 70_000, 28
MOST_DECODED = 2000  # images that are decoded for a plan; of more, the files are counted


@dataclass(frozen=True)
class KnownImages:
    """What is known of the images of a dataset. dataset: they, or what stands in for them."""

    dataset: DomainDataset
    counts: Mapping[str, int]
    there: bool
    note: str = ""

    @property
    def undecoded(self) -> int:
        """The number of images that a launch would still decode."""
        return 0 if self.there else sum(self.counts.values())


class _TooMany(Exception):
    """A dataset has more images, `total`, than are decoded for a plan."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total


def look(one: DatasetSweep) -> KnownImages:
    """The images of a dataset, if they are there and few or decoded; else what is known of them.

    Raises SteppeError for images that a launch would refuse.
    """
    given, entry = one.dataset, datasets.DATASETS[one.dataset.name]

    def progress(done: int, total: int) -> None:
        if total > MOST_DECODED:
            raise _TooMany(total)

    try:
        if entry.cache is not None:
            datasets.prepare(
                given.name, given.root, given.size, given.allow, progress,
                originals=given.originals or 0,
            )  # fmt: skip
        found = open_dataset(given)
    except FileNotFoundError as error:
        counts, note = _published(given.name), "The numbers of images are the published ones"
        if counts is None:
            counts = dict.fromkeys(datasets.describe(given.name).domains, 0)
            note = "How many images it has is not known here, so none is counted as scored"
        return _standing_in(one, counts, f"{error}. {note}")
    except _TooMany as images:
        counts = _published(given.name) or _files(one, images.total)
        return _standing_in(
            one, counts, f"{given.name} is not decoded yet, so its images are not checked: "
            f"`python -m search prepare {given.name} {given.root}` does both"
        )  # fmt: skip
    except ValueError:
        with errors_of_images():
            raise
    return KnownImages(found, {domain.name: len(domain) for domain in found.domains}, True)


def _standing_in(one: DatasetSweep, counts: Mapping[str, int], note: str) -> KnownImages:
    about = datasets.describe(one.dataset.name, one.dataset.root)
    size = one.dataset.size or DEFAULT_SIZE
    name, photographs = one.dataset.name, datasets.DATASETS[one.dataset.name].resizes
    shape = (MNIST[name], MNIST_SIZE, MNIST_SIZE) if name in MNIST else (3, size, size)
    dataset = stand_in(name, about.domains, about.classes, shape, photographs)
    return KnownImages(dataset, counts, False, note)


def _published(name: str) -> dict[str, int] | None:
    """How many images each domain of a dataset has, as far as that is published."""
    domains = datasets.describe(name).domains
    if name in MNIST:
        return dict.fromkeys(domains, MNIST_IMAGES // len(domains))
    if name not in KNOWN or not KNOWN[name].variants:
        return None
    counts = next(iter(KNOWN[name].variants.values()))
    return {domain: counts[domain] for domain in domains}


def _files(one: DatasetSweep, total: int) -> dict[str, int]:
    """The files in each domain's folder; equal shares of all where domains lie elsewhere."""
    root = one.dataset.root
    assert root is not None
    domains = datasets.describe(one.dataset.name, root).domains
    counts = {name: sum(len(files) for _, _, files in os.walk(root / name)) for name in domains}
    return counts if all(counts.values()) else dict.fromkeys(domains, total // len(domains))


def decoded_bytes(sweep: Sweep, images: Mapping[str, KnownImages]) -> int:
    """Bytes of the caches that a launch would still build: squares and, at most, originals."""
    found = 0
    for name, one in by_dataset(sweep).items():
        channels, height, width = images[name].dataset.image_shape
        # Of photographs of 4 to 3; smaller ones take less.
        originals = 3 * (one.dataset.originals or 0) ** 2 * 4 // 3
        found += images[name].undecoded * (channels * height * width + originals)
    return found
