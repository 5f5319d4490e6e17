"""What a user should know of a sweep before it starts, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import models
from datasets.augmentation.in_words import doubt, in_words
from datasets.domain_dataset import DomainDataset
from datasets.input_format import InputFormat
from search.space.ranges import text
from search.space.suggested_ranges import suggestions
from search.study.study_space import given_ranges, study_space
from search.sweep.per_dataset import OneDataset, by_dataset, place_in_file
from search.sweep.problems import dotted
from search.sweep.schema import Sweep

EVERY_METHODS = ("lr", "weight_decay", "dropout", "batch_size")


def notes(sweep: Sweep, found: Sequence[DomainDataset]) -> list[str]:
    """What training sees of each dataset, where that is doubtful, and what is searched."""
    parts = by_dataset(sweep)
    pairs = zip(parts.values(), found, strict=True)
    said = [note for one, dataset in pairs for note in _images(sweep, one, dataset)]
    return [*said, *dict.fromkeys(line for one in parts.values() for line in _ranges(one))]


def _images(sweep: Sweep, one: OneDataset, dataset: DomainDataset) -> Iterator[str]:
    augmentation, size = one.training.augmentation, dataset.image_shape[1]
    colours = models.colours(one.model.name, one.model.weights)
    format = InputFormat(size, colours.mean, colours.deviation)
    yield f"{one.dataset.name}: {in_words(dataset, augmentation, format)}"
    key = dotted(place_in_file(sweep, one.dataset.name, ("training", "augmentation")))
    warning = doubt(dataset, key)
    if warning is not None and augmentation != "none":
        yield warning


def _ranges(one: OneDataset) -> list[str]:
    """Where what every method has is searched, and who says so; methods that are alike share a
    line."""
    lines: dict[str, list[str]] = {}
    for algorithm in one.algorithms:
        lines.setdefault(_ranges_of(one, algorithm), []).append(algorithm)
    if len(lines) == 1:
        return [f"Ranges: {line}" for line in lines]
    return [f"Ranges of {', '.join(names)}: {line}" for line, names in lines.items()]


def _ranges_of(one: OneDataset, algorithm: str) -> str:
    space, given = study_space(one, algorithm), given_ranges(one, algorithm)
    by_source: dict[str, list[str]] = {}
    for name in EVERY_METHODS:
        if name in given:
            source = "the sweep's"
        elif name == "batch_size":
            source = "training.batch_size"
        else:
            source = f"suggested: {suggestions(())[name].source}"
        by_source.setdefault(source, []).append(f"{name} {text(space[name])}")
    return "; ".join(f"{', '.join(ranges)} ({source})" for source, ranges in by_source.items())
