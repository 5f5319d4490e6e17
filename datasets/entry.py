"""What a dataset's file gives to the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets.domain_dataset import DomainDataset


@dataclass(frozen=True)
class Description:
    """What is known of a dataset before a pixel is read.

    Args:
        domains: names, in the order of `DomainDataset.domains`.
        classes: the number of classes.
        sentence: what the dataset is, for lists.
        source: where its images come from.
    """

    domains: tuple[str, ...]
    classes: int
    sentence: str
    source: str


@dataclass(frozen=True)
class Entry:
    """A description and the function that reads the dataset from its root folder."""

    description: Description
    load: Callable[[Path | None], DomainDataset]
