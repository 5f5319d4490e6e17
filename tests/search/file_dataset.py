"""A dataset in a file that a test made.

Two files under one name make two sweeps that differ in nothing but what is in them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import datasets
from datasets import Description, Domain, DomainDataset, Entry
from datasets.domain_dataset import fingerprint

NAME = "DigitsInAFile"
SOURCE = datasets.load("RotatedDigits")


def write(root: Path, labels: dict[str, np.ndarray]) -> None:
    """RotatedDigits as a file in `root`, with other labels for the domains in `labels`."""
    root.mkdir()
    arrays = {}
    for domain in SOURCE.domains:
        arrays[f"images {domain.name}"] = domain.images
        arrays[f"labels {domain.name}"] = labels.get(domain.name, domain.labels)
    np.savez(root / "digits.npz", **arrays)


def load(root: Path | None) -> DomainDataset:
    assert root is not None
    with np.load(root / "digits.npz") as arrays:
        domains = [
            Domain(domain.name, arrays[f"images {domain.name}"], arrays[f"labels {domain.name}"])
            for domain in SOURCE.domains
        ]
    return DomainDataset(NAME, tuple(domains), SOURCE.classes, fingerprint(SOURCE.classes, domains))


ENTRY = Entry(
    Description(tuple(d.name for d in SOURCE.domains), 10, "Digits of a test.", "A file."),
    lambda root, reading: load(root),
    needs_root=True,
)
