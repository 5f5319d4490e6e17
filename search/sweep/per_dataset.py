"""A sweep over several datasets, as one sweep for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import datasets
from datasets.image_folders import DEFAULT_ORIGINALS
from search.sweep.config_errors import KeyPath, Problem
from search.sweep.fields import HeldOut
from search.sweep.schema import Dataset, DatasetOverrides, Sweep
from search.sweep.training_keys import Training

# Defaults of `training` that depend on the dataset: batches and evaluations of DomainBed's small
# images (facebookresearch/DomainBed at b93c22a).
_SMALL_IMAGES: dict[str, Any] = {"batch_size": 64, "evaluate_every": 100}
TRAINING_DEFAULTS = {"RotatedMNIST": _SMALL_IMAGES, "ColoredMNIST": _SMALL_IMAGES}


class DatasetSweep(Sweep):
    """The sweep over one of the datasets: what its studies need, and nothing else."""

    dataset: Dataset


def by_dataset(sweep: Sweep) -> dict[str, DatasetSweep]:
    """The sweep over each dataset, by its name, in the order of the file."""
    if sweep.dataset is not None:
        training = _with_defaults(sweep.training, sweep.dataset.name)
        kept = originals(sweep.dataset.name, sweep.dataset.originals)
        dataset = sweep.dataset.model_copy(update={"originals": kept})
        return {dataset.name: _over(sweep, dataset, sweep.held_out, training)}
    return {
        name: _over(
            sweep,
            Dataset(
                name=name,
                root=given.root,
                size=given.size,
                originals=originals(name, given.originals),
                allow=given.allow,
            ),
            sweep.held_out if given.held_out is None else given.held_out,
            _with_defaults(sweep.training.model_copy(update=training_overrides(given)), name),
        )
        for name, given in sweep.datasets.items()
    }


def originals(name: str, given: int | None) -> int:
    """The value of `originals` of a dataset, for which its file gives `given`."""
    if given is not None:
        return given
    entry = datasets.DATASETS.get(name)
    return DEFAULT_ORIGINALS if entry is not None and entry.resizes and entry.cropped else 0


def with_originals_of_its_time(data: Mapping[str, Any]) -> dict[str, Any]:
    """A parsed resolved sweep; of an earlier commit, crops are cut from the squares as they were.

    Since then each resolved sweep has the key `originals`.
    """
    one, several = data.get("dataset"), data.get("datasets")
    found = dict(data)
    if isinstance(one, dict):
        found["dataset"] = {"originals": 0, **one}
    if isinstance(several, dict):
        found["datasets"] = {
            name: {"originals": 0, **given} if isinstance(given, dict) else given
            for name, given in several.items()
        }
    return found


def with_originals_of(sweep: Sweep, recorded: Sweep) -> Sweep:
    """The sweep, its datasets with the `originals` of a run where the file does not give them."""
    kept = {name: one.dataset.originals for name, one in by_dataset(recorded).items()}

    def filled(name: str, given: Any) -> Any:
        if given.originals is not None or name not in kept:
            return given
        return given.model_copy(update={"originals": kept[name]})

    several = {name: filled(name, given) for name, given in sweep.datasets.items()}
    one = None if sweep.dataset is None else filled(sweep.dataset.name, sweep.dataset)
    return sweep.model_copy(update={"dataset": one, "datasets": several})


def training_overrides(given: DatasetOverrides) -> dict[str, object]:
    """The keys of `training` that a dataset has for itself."""
    return {key: getattr(given.training, key) for key in given.training.model_fields_set}


def default_overrides(training: Training, dataset: str) -> dict[str, Any]:
    """The defaults of this dataset for the keys that the file leaves out."""
    own = TRAINING_DEFAULTS.get(dataset, {})
    return {key: value for key, value in own.items() if key not in training.model_fields_set}


def path_in_file(sweep: Sweep, name: str, path: KeyPath) -> KeyPath:
    """Where the file has the key that the sweep over a dataset has at `path`."""
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


def problems_in_file(
    sweep: Sweep, problems_of: Callable[[DatasetSweep], Iterable[Problem]]
) -> list[Problem]:
    """What `problems_of` finds in the sweep over each dataset, where the file has it, each once."""
    found = [
        Problem(path_in_file(sweep, name, problem.path), problem.text)
        for name, one in by_dataset(sweep).items()
        for problem in problems_of(one)
    ]
    return list(dict.fromkeys(found))


def path_in_dataset(sweep: Sweep, name: str, path: KeyPath) -> KeyPath:
    """Where the sweep over a dataset has a key of the file, the reverse of `path_in_file`.

    Keys of other datasets are returned as they are.
    """
    if path == ("datasets",) or (path[0] == "datasets" and not sweep.datasets):
        return ("dataset",)  # the entry is unreadable, and another dataset stands in for it
    if path[:2] != ("datasets", name):
        return path
    inside = path[2:]
    return inside if inside[:1] in (("held_out",), ("training",)) else ("dataset", *inside)


def _with_defaults(training: Training, dataset: str) -> Training:
    own = default_overrides(training, dataset)
    return Training.model_construct(training.model_fields_set, **{**dict(training), **own})


def _over(sweep: Sweep, dataset: Dataset, held_out: HeldOut, training: Training) -> DatasetSweep:
    own = {"dataset": dataset, "datasets": {}, "held_out": held_out, "training": training}
    return DatasetSweep.model_construct(sweep.model_fields_set, **{**dict(sweep), **own})
