"""A sweep over several datasets, as one sweep for each of them."""

from __future__ import annotations

from typing import Any

from search.sweep.problems import Path
from search.sweep.schema import Dataset, HeldOut, OneOfSeveral, Sweep
from search.sweep.training_keys import Training

# What a dataset has in the place of the training's defaults, where the file says nothing: batches
# and evaluations of DomainBed's small images (facebookresearch/DomainBed at b93c22a).
_SMALL_IMAGES: dict[str, Any] = {"batch_size": 64, "evaluate_every": 100}
DEFAULTS = {"RotatedMNIST": _SMALL_IMAGES, "ColoredMNIST": _SMALL_IMAGES}


class OneDataset(Sweep):
    """The part of a sweep that one dataset has; for its studies there is nothing else."""

    dataset: Dataset


def by_dataset(sweep: Sweep) -> dict[str, OneDataset]:
    """The part of each dataset, by its name, in the order of the file."""
    if sweep.dataset is not None:
        training = _with_defaults(sweep.training, sweep.dataset.name)
        return {sweep.dataset.name: _part(sweep, sweep.dataset, sweep.held_out, training)}
    return {
        name: _part(
            sweep,
            Dataset(name=name, root=given.root, size=given.size, allow=given.allow),
            sweep.held_out if given.held_out is None else given.held_out,
            _with_defaults(sweep.training.model_copy(update=own_training(given)), name),
        )
        for name, given in sweep.datasets.items()
    }


def of_dataset(sweep: Sweep, name: str) -> OneDataset:
    """The part of one dataset of the sweep."""
    return by_dataset(sweep)[name]


def own_training(given: OneOfSeveral) -> dict[str, object]:
    """The keys of `training` that a dataset has for itself."""
    return {key: getattr(given.training, key) for key in given.training.model_fields_set}


def place_in_file(sweep: Sweep, name: str, path: Path) -> Path:
    """Where the file has the key that a dataset's part has at `path`."""
    if name not in sweep.datasets:
        return path
    given, section = sweep.datasets[name], path[0]
    own = (
        section == "dataset"
        or (section == "held_out" and given.held_out is not None)
        or (section == "training" and path[1] in given.training.model_fields_set)
    )
    if not own:
        return path
    # The name is the key itself.
    inside = path[1:] if section == "dataset" else path
    return ("datasets", name, *(() if inside == ("name",) else inside))


def place_in_part(sweep: Sweep, name: str, path: Path) -> Path:
    """Where the part of a dataset has a key of the file; keys of other datasets stay as they are.

    `place_in_file` undoes this.
    """
    if path == ("datasets",) or (path[0] == "datasets" and not sweep.datasets):
        return ("dataset",)  # another stands in the place of what cannot be read
    if path[:2] != ("datasets", name):
        return path
    inside = path[2:]
    return inside if inside[:1] in (("held_out",), ("training",)) else ("dataset", *inside)


def _with_defaults(training: Training, dataset: str) -> Training:
    """The training of a dataset, with its own defaults for what the file does not say."""
    own = unsaid(training, dataset)
    return Training.model_construct(training.model_fields_set, **{**dict(training), **own})


def unsaid(training: Training, dataset: str) -> dict[str, Any]:
    """Keys that have another default for the dataset, and that the file does not say."""
    own = DEFAULTS.get(dataset, {})
    return {key: value for key, value in own.items() if key not in training.model_fields_set}


def _part(sweep: Sweep, dataset: Dataset, held_out: HeldOut, training: Training) -> OneDataset:
    own = {"dataset": dataset, "datasets": {}, "held_out": held_out, "training": training}
    return OneDataset.model_construct(sweep.model_fields_set, **{**dict(sweep), **own})
