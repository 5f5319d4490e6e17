"""Notes that a launch prints before it starts: what training sees, and what is searched where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import models
from datasets.augmentation.in_words import doubt, in_words
from datasets.domain_dataset import DomainDataset
from datasets.input_format import InputFormat
from models.entry import Texts
from search.checks.check_space import range_key
from search.space.ranges import Fixed, Range, Value, nearest_value, plain, show_value, text, widened
from search.study.study_space import (
    MOVING,
    given_ranges,
    published_values,
    random_weights,
    study_space,
    suggested_ranges,
    wanted_first,
)
from search.sweep.config_errors import dotted
from search.sweep.per_dataset import DatasetSweep, by_dataset, path_in_file
from search.sweep.schema import Sweep

# DomainBed gives ranges for these networks on photographs, and for one on small images.
RESNETS = ("resnet18", "resnet50", "timm/resnet18", "timm/resnet50")
SMALL_NETWORK, SMALL_DATASETS = "mnist_cnn", ("RotatedMNIST", "ColoredMNIST")

# Hyperparameters that every method has.
COMMON_HYPERPARAMETERS = ("lr", "weight_decay", "dropout", "batch_size")


def notes(sweep: Sweep, found: Sequence[DomainDataset]) -> list[str]:
    """What training sees of each dataset, doubts about that, and the ranges that are searched."""
    parts = by_dataset(sweep)
    pairs = list(zip(parts.values(), found, strict=True))
    said = [note for one, dataset in pairs for note in _images(sweep, one, dataset)]
    said += [_texts(one, dataset) for one, dataset in pairs if one.model.head != "linear"]
    said += dict.fromkeys(line for one in parts.values() for line in _ranges(one))
    said += [
        _first_trials(one) for one in parts.values() if one.search.sampler != "grid" and one.trained
    ]
    return [*said, *(f"Note: {line}" for line in unpublished(sweep))]


def unpublished(sweep: Sweep) -> list[str]:
    """Ranges that come from elsewhere or leave out a value of the first trials."""
    return [*_borrowed_ranges(sweep), *_left_out(sweep)]


def _images(sweep: Sweep, one: DatasetSweep, dataset: DomainDataset) -> Iterator[str]:
    augmentation, size = one.training.augmentation, dataset.image_shape[1]
    colours = models.colours(one.model.name, one.model.weights)
    format = InputFormat(size, colours.mean, colours.deviation)
    yield f"{one.dataset.name}: {in_words(dataset, augmentation, format)}"
    key = dotted(path_in_file(sweep, one.dataset.name, ("training", "augmentation")))
    warning = doubt(dataset, key)
    if warning is not None and augmentation != "none":
        yield warning


def _texts(one: DatasetSweep, dataset: DomainDataset) -> str:
    """The texts that the head is made of, all of the first prompt."""
    listed = Texts(dataset.classes, one.model.prompts[:1]).sentences
    more = one.model.prompts[1:]
    also = f"; and so on for {', '.join(map(repr, more))}" if more else ""
    return f"Texts of {one.dataset.name}, by its names of classes: {' '.join(listed)}{also}"


def _ranges(one: DatasetSweep) -> list[str]:
    """Ranges of what every method has, with their source; methods with equal ranges in one line."""
    lines: dict[str, list[str]] = {}
    for algorithm in one.trained:
        lines.setdefault(_ranges_of(one, algorithm), []).append(algorithm)
    if len(lines) == 1:
        return [f"Ranges: {line}" for line in lines]
    return [f"Ranges of {', '.join(names)}: {line}" for line, names in lines.items()]


def _ranges_of(one: DatasetSweep, algorithm: str) -> str:
    space, given = study_space(one, algorithm), given_ranges(one, algorithm)
    by_source: dict[str, list[str]] = {}
    for name in COMMON_HYPERPARAMETERS:
        if name in given:
            source = "the sweep's"
        elif name == "batch_size":
            source = "training.batch_size"
        else:
            source = f"suggested: {suggested_ranges(one, algorithm)[name].source}"
        by_source.setdefault(source, []).append(f"{name} {text(space[name])}")
    return "; ".join(f"{', '.join(ranges)} ({source})" for source, ranges in by_source.items())


def _first_trials(one: DatasetSweep) -> str:
    """For which algorithms a setting is published on the dataset, and how the others begin."""
    names: dict[bool, list[str]] = {True: [], False: []}
    for algorithm in one.trained:
        values = published_values(one, algorithm).values()
        names[all(value.default for value in values)].append(algorithm)
    kinds = [
        f"the setting published for {one.dataset.name} ({', '.join(names[False])})",
        f"a default setting, as none is published ({', '.join(names[True])})",
    ]
    first = " or ".join(
        kind for kind, own in zip(kinds, (names[False], names[True]), strict=True) if own
    )
    count = len(wanted_first(one, one.trained[0]))
    also = f"; each study tries the training values of all, {count} settings" * (count > 1)
    return f"First trials on {one.dataset.name}: {first}{also}"


def _borrowed_ranges(sweep: Sweep) -> Iterator[str]:
    """Suggested ranges of the training that were published for another network than the sweep's."""
    searched = [
        name
        for name in ("lr", "weight_decay")
        if any(name not in given_ranges(sweep, algorithm) for algorithm in sweep.trained)
    ]
    model, on = sweep.model, tuple(by_dataset(sweep))
    genie = sweep.training.optimizer == "genie"
    if model.tuning == "lora" and "lr" in searched and not genie:
        yield (
            "The suggested range of lr with model.tuning: lora comes from language models, as none "
            "is published for domain generalization; for your own write search.space.lr."
        )
    # Of genie, and of a head alone, there is a source of lr.
    own_rate = genie or model.tuning != "full"
    names = [name for name in searched if name != "lr" or not own_rate]
    if model.head != "linear":
        yield from _decay_of_adamw(sweep, names)
        return  # the rest has sources of its own
    if model.tuning == "head" and random_weights(sweep):
        yield (
            "model.tuning is head, but model.weights is not given: the head is trained on features "
            "of random weights, which stay as they are."
        )
    if not names:
        return
    if not random_weights(sweep):
        if model.name in RESNETS:
            return
        meant, given = "a ResNet-50 pretrained on ImageNet", f"{model.name} from {model.weights}"
    else:
        if model.name == SMALL_NETWORK and set(on) <= set(SMALL_DATASETS):
            return
        meant = "mnist_cnn from random weights on RotatedMNIST and ColoredMNIST, in 5,000 steps"
        given = f"{model.name} from random weights on {' and '.join(on)}"
    ranges = "range is" if len(names) == 1 else "ranges are"
    keys = " and ".join(f"search.space.{name}" for name in names)
    yield (
        f"The suggested {' and '.join(names)} {ranges} DomainBed's for {meant}, as none is "
        f"published for {given}; for your own write {keys}."
    )


def _decay_of_adamw(sweep: Sweep, names: Sequence[str]) -> Iterator[str]:
    optimizers = {one.training.optimizer for one in by_dataset(sweep).values()}
    if "weight_decay" in names and optimizers != {"adamw"}:
        yield (
            f"The suggested weight_decay with model.head: {sweep.model.head} is AdamW's, as in "
            "CLIPood and WiSE-FT; write training.optimizer: adamw, or search.space.weight_decay."
        )


class Miss(NamedTuple):
    """A value of a first trial that a range leaves out."""

    name: str
    value: Value
    range: Range
    key: str


def _left_out(sweep: Sweep) -> Iterator[str]:
    """A sentence for each value of first trials that its range leaves out."""
    missed: dict[Miss, tuple[str, dict[str, None], dict[str, None]]] = {}
    for dataset, one in by_dataset(sweep).items():
        for algorithm in sweep.trained:
            for miss, source in _misses(one, algorithm):
                _, algorithms, on = missed.setdefault(miss, (source, {}, {}))
                algorithms[algorithm], on[dataset] = None, None
    for miss, (source, algorithms, on) in missed.items():
        yield _sentence(miss, source, list(algorithms), list(on) if sweep.datasets else [])


def _misses(one: DatasetSweep, algorithm: str) -> Iterator[tuple[Miss, str]]:
    space = study_space(one, algorithm)
    # A moving average has to begin earlier in a short run; no range would mend that.
    earlier = set(MOVING.values()) - given_ranges(one, algorithm).keys()
    for setting in wanted_first(one, algorithm):
        for name, range_ in space.items():
            if name in setting and name not in earlier:
                value, key = setting[name].value, dotted(range_key(one, algorithm, name))
                if nearest_value(range_, value) != value:
                    yield Miss(name, value, range_, key), setting[name].source


def _sentence(miss: Miss, source: str, algorithms: list[str], on: list[str]) -> str:
    value, range_ = miss.value, miss.range
    shown, tried = show_value(value), show_value(nearest_value(range_, value))
    whose = ", ".join(algorithms) + (f" on {', '.join(on)}" if on else "")
    told = f"{miss.name} {shown} ({source}) would be in the first trials of {whose}"
    if miss.key == "training.batch_size":
        return f"{told}, but is {tried}; write training.batch_size: {shown} for that."
    wider = _written(widened(range_, value))
    if isinstance(range_, Fixed):
        return f"{told}, but {miss.key} fixes it at {tried}; {wider} would hold both."
    return (
        f"{told}, but {miss.key} ({text(range_)}) leaves it out, so they have {tried}; "
        f"{wider} would hold it."
    )


def _written(range_: Range) -> str:
    """A range as a user writes it in a sweep file."""
    written = plain(range_)
    if not isinstance(written, dict):
        return show_value(written)
    ((kind, values),) = written.items()
    return f"{{{kind}: [{', '.join(map(show_value, values))}]}}"
