"""Names for several runs in one set of tables, so that only what is alike is averaged.

A row of a table is a mean over seeds, and its average one over held-out domains or datasets. Where
runs that share a row differ in data, model, training or search, each gets a row or a table of its
own, named after the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from search.errors import SteppeError
from search.results.loading import LoadedRun, ranges_of

# Keys that change no number, or belong to one run by design.
IMMATERIAL = {
    "training.checkpoint_seconds",
    "training.device",
    "training.deterministic",
    "training.channels_last",
    "training.compile",
    "training.evaluations",
    "training.flatness",
    "training.flatness_rho",
    "training.flatness_samples",
    "training.predictions",
    "search.allow_oracle",
    "search.budget",
    "search.combine",
    "search.hang_seconds",
    "search.keep_weights",
    "search.max_failures",
    "search.seed",
}
# What an average over datasets may not mix, either; their training may be their own.
OF_ALL_DATASETS = ("model.", "search.objective")
MOST_KEYS = 3


@dataclass(frozen=True)
class Difference:
    """Why runs have rows or tables of their own; a note below the tables of these datasets."""

    datasets: frozenset[str]
    text: str


def with_display_names(runs: Sequence[LoadedRun]) -> tuple[list[LoadedRun], list[Difference]]:
    """The runs, with other names for sweeps, datasets and algorithms that differ under one name.

    Raises SteppeError for two runs that hold the same study: no table could say which of its
    trials its winner was chosen from.
    """
    named = [*_sweeps(runs)]
    named, of_data = _datasets(named)
    named, of_methods = _algorithms(named)
    _check_studies_differ(named)
    return named, [*of_data, *of_methods, *_same_images(named)]


def training_differences(runs: Sequence[LoadedRun], dataset: str) -> list[str]:
    """How the training of runs on a dataset differs: `training.steps: 300 in a, 5000 in b`."""
    own = {r.name: r.written_keys(r.datasets[dataset]) for r in runs if dataset in r.datasets}
    found = []
    for key in dict.fromkeys(key for keys in own.values() for key in keys):
        values = {run: keys[key] for run, keys in own.items() if key in keys}
        if len({repr(value) for value in values.values()}) > 1:
            found.append(f"{key}: {', '.join(f'{v} in {run}' for run, v in values.items())}")
    return found


def _sweeps(runs: Sequence[LoadedRun]) -> Iterator[LoadedRun]:
    taken: set[str] = set()
    for run in runs:
        own = run.sweep.name if run.sweep.name not in taken else f"{run.sweep.name} ({run.name})"
        taken.add(own)
        yield replace(run, sweep_name=own)


def _datasets(runs: Sequence[LoadedRun]) -> tuple[list[LoadedRun], list[Difference]]:
    """Different images under one name are different datasets."""
    holders: dict[str, dict[str | None, list[str]]] = {}
    for run in runs:
        for dataset in run.datasets:
            fingerprint = run.fingerprints.get(dataset)
            holders.setdefault(dataset, {}).setdefault(fingerprint, []).append(run.name)
    names: dict[str, dict[str, str]] = {run.name: {} for run in runs}
    found = []
    for dataset, marks in holders.items():
        known = {mark: of for mark, of in marks.items() if mark is not None}
        unknown = marks.get(None, [])
        if len(known) > 1:
            groups = [*known.values(), *([name] for name in unknown)]
            for group in groups:
                for name in group:
                    names[name][dataset] = f"{dataset} ({group[0]})"
            listed = ", ".join(f"{mark[:12]} in {' and '.join(of)}" for mark, of in known.items())
            text = f"{dataset} has different images, so these are different datasets: {listed}"
            found.append(Difference(frozenset(f"{dataset} ({g[0]})" for g in groups), text))
        elif unknown and known:
            text = f"whether the images of {dataset} are the same is not recorded in "
            found.append(Difference(frozenset([dataset]), text + " and ".join(unknown)))
    return [replace(run, dataset_names=names[run.name]) for run in runs], found


def _algorithms(runs: Sequence[LoadedRun]) -> tuple[list[LoadedRun], list[Difference]]:
    """A method that was trained or searched differently is a row of its own."""
    holders: dict[tuple[str, str], list[LoadedRun]] = {}
    for run in runs:
        for algorithm in run.sweep.algorithms:
            holders.setdefault((run.sweep.model.name, algorithm), []).append(run)
    names: dict[str, dict[str, str]] = {run.name: {} for run in runs}
    apart: dict[tuple[str, frozenset[str]], list[str]] = {}
    for (_, algorithm), those in holders.items():
        groups, keys = _alike(those, algorithm)
        if len(groups) == 1:
            continue
        for group in groups:
            for run in group:
                names[run.name][algorithm] = f"{algorithm} ({group[0].name})"
        listed = " and ".join(group[0].name for group in groups)
        more = f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
        text = f"{listed} differ in {', '.join(keys[:MOST_KEYS])}{more}, so they are not averaged"
        datasets = frozenset(name for run in those for name in run.datasets)
        apart.setdefault((text, datasets), []).append(algorithm)
    found = [
        Difference(datasets, f"{text} together: {', '.join(algorithms)}")
        for (text, datasets), algorithms in apart.items()
    ]
    return [replace(run, algorithm_names=names[run.name]) for run in runs], found


def _alike(runs: Sequence[LoadedRun], algorithm: str) -> tuple[list[list[LoadedRun]], list[str]]:
    """The runs in groups that may share a row of the algorithm, and the keys that part them."""
    groups: list[list[LoadedRun]] = []
    keys: dict[str, None] = {}
    for run in runs:
        for group in groups:
            conflicts = [key for other in group for key in _differing(other, run, algorithm)]
            keys |= dict.fromkeys(conflicts)
            if not conflicts:
                group.append(run)
                break
        else:
            groups.append([run])
    return groups, [*keys]


def _differing(a: LoadedRun, b: LoadedRun, algorithm: str) -> list[str]:
    """Keys whose values differ and that a row of both would mix."""
    shared = [name for name in a.datasets if name in b.datasets]
    firsts = next(iter(a.datasets)), next(iter(b.datasets))
    keys = dict[str, None]()
    for of_a, of_b in [firsts, *((name, name) for name in shared)]:
        ours, theirs = _keys(a, of_a, algorithm), _keys(b, of_b, algorithm)
        for key in ours:
            compared = of_a == of_b or key.startswith(OF_ALL_DATASETS)
            if compared and key in theirs and ours[key] != theirs[key]:
                keys[key] = None
    return [*keys]


def _keys(run: LoadedRun, dataset: str, algorithm: str) -> dict[str, str]:
    """What the numbers of an algorithm on a dataset depend on, by key, as text."""
    search = run.sweep.search
    values: dict[str, Any] = run.written_keys(run.datasets[dataset])
    if run.weights is not None:
        values["model.weights (sha256)"] = run.weights
    values |= {
        f"search.{key}": value
        for key, value in search.model_dump(mode="json", exclude={"space"}).items()
    }
    ranges = ranges_of(run.sweep, algorithm)
    values |= {f"search.space.{name}": range_ for name, range_ in ranges.items()}
    if values.get("training.augmentation") in ("exact", "device"):
        values["training.augmentation"] = "auto"  # the same, computed elsewhere
    return {key: repr(value) for key, value in values.items() if key not in IMMATERIAL}


def _same_images(runs: Sequence[LoadedRun]) -> list[Difference]:
    """Two names for the same images, which an average over datasets would count twice."""
    names: dict[str, dict[str, None]] = {}
    for run in runs:
        for shown, dataset in run.datasets.items():
            if dataset in run.fingerprints:
                names.setdefault(run.fingerprints[dataset], {})[shown] = None
    return [
        Difference(
            frozenset(those),
            f"{' and '.join(those)} are the same images, which an average over datasets counts "
            f"{len(those)} times",
        )
        for those in names.values()
        if len(those) > 1
    ]


def _check_studies_differ(runs: Sequence[LoadedRun]) -> None:
    holders: dict[Any, str] = {}
    for run in runs:
        for study in run.studies.values():
            other = holders.setdefault(study, run.name)
            if other != run.name:
                raise SteppeError(
                    f"{other} and {run.name} both hold the study {study.id}, and two searches are "
                    "not mixed: name one of them; a copy of a run counts once"
                )
