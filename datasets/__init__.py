"""Datasets by name. A new one is a file with a DESCRIPTION and a load(root), and a line here."""

from __future__ import annotations

from pathlib import Path

from datasets import rotated_digits
from datasets.domain_dataset import Domain, DomainDataset
from datasets.entry import Description, Entry
from datasets.nearest import unknown_name

__all__ = ["DATASETS", "Description", "Domain", "DomainDataset", "Entry", "describe", "load"]

DATASETS: dict[str, Entry] = {
    "RotatedDigits": Entry(rotated_digits.DESCRIPTION, rotated_digits.load),
}


def describe(name: str) -> Description:
    """Domain names, number of classes, a sentence and the source, without reading pixels.

    Raises:
        ValueError: no dataset has this name; names the nearest one.
    """
    return _entry(name).description


def load(name: str, root: Path | None = None) -> DomainDataset:
    """The dataset, read from the folder `root`; a bundled dataset needs no root and ignores it.

    Raises:
        ValueError: no dataset has this name; names the nearest one.
    """
    return _entry(name).load(root)


def _entry(name: str) -> Entry:
    if name not in DATASETS:
        raise unknown_name("dataset", name, DATASETS)
    return DATASETS[name]
