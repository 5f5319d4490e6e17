"""Several runs as one: what is averaged together is the same data, model and training.

A row of a table is a mean over seeds, and an average one over held-out domains or datasets. Where
runs that share a row differ, each gets a row or a table of its own, named after the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from search.errors import SteppeError
from search.results.plain_sweep import Sweep, asked_studies, keys_of_dataset

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
    "search.allow_oracle",
    "search.budget",
    "search.hang_seconds",
    "search.keep_weights",
    "search.max_failures",
    "search.seed",
}
# What an average over datasets may not mix, either; their training may be their own.
OF_ALL_DATASETS = ("model.", "search.objective")
MOST_KEYS = 3


@dataclass(frozen=True)
class Part:
    """A run among several: its name here, its sweep and tables, and the fingerprints of its data
    (none where the run does not say)."""

    run: str
    sweep: Sweep
    trials: pd.DataFrame
    evaluations: pd.DataFrame
    fingerprints: Mapping[str, str]
    ended: frozenset[str]


@dataclass(frozen=True)
class Difference:
    """Why rows or tables were told apart; a line below the tables of these datasets."""

    datasets: frozenset[str]
    text: str


def told_apart(parts: Sequence[Part]) -> tuple[list[Part], list[Difference]]:
    """The runs, with other names for sweeps, datasets and algorithms that only look the same.

    Raises SteppeError for two runs that hold the same study: which of its trials were chosen among
    would be told by no table.
    """
    parts, why = [*_own_sweeps(parts)], list[Difference]()
    parts, found = _own_datasets(parts)
    why += found
    parts, found = _own_algorithms(parts)
    why += found
    _refuse_twice(parts)
    return parts, why + _same_data(parts)


def _own_sweeps(parts: Sequence[Part]) -> Iterator[Part]:
    taken: set[str] = set()
    for part in parts:
        name = str(part.sweep["name"])
        own = name if name not in taken else f"{name} ({part.run})"
        taken.add(own)
        yield part if own == name else _renamed(part, name=own)


def _own_datasets(parts: Sequence[Part]) -> tuple[list[Part], list[Difference]]:
    """Different images under one name are different datasets."""
    holders: dict[str, dict[str | None, list[str]]] = {}
    for part in parts:
        for dataset in _datasets(part):
            mark = part.fingerprints.get(dataset)
            holders.setdefault(dataset, {}).setdefault(mark, []).append(part.run)
    names: dict[tuple[str, str], str] = {}
    found = []
    for dataset, marks in holders.items():
        known = {mark: runs for mark, runs in marks.items() if mark is not None}
        unknown = marks.get(None, [])
        if len(known) > 1:
            own = [*known.values(), *([run] for run in unknown)]
            names |= {(run, dataset): f"{dataset} ({runs[0]})" for runs in own for run in runs}
            listed = ", ".join(f"{mark[:12]} in {' and '.join(of)}" for mark, of in known.items())
            text = f"other images under the name {dataset}, not averaged together: {listed}"
            found.append(Difference(frozenset(f"{dataset} ({runs[0]})" for runs in own), text))
        elif unknown and known:
            text = f"whether the images of {dataset} are the same is not recorded in "
            found.append(Difference(frozenset([dataset]), text + " and ".join(unknown)))
    renamed = []
    for part in parts:
        own_names = {dataset: names[run, dataset] for run, dataset in names if run == part.run}
        renamed.append(_renamed(part, datasets=own_names) if own_names else part)
    return renamed, found


def _own_algorithms(parts: Sequence[Part]) -> tuple[list[Part], list[Difference]]:
    """A method that was trained or searched differently is a row of its own."""
    holders: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        for algorithm in part.sweep["algorithms"]:
            holders.setdefault((part.sweep["model"]["name"], algorithm), []).append(part)
    names: dict[str, dict[str, str]] = {}
    apart: dict[tuple[str, frozenset[str]], list[str]] = {}
    for (_, algorithm), those in holders.items():
        alike: list[list[Part]] = []
        keys: dict[str, None] = {}
        for part in those:
            for group in alike:
                conflicts = [key for other in group for key in _differing(other, part, algorithm)]
                keys |= dict.fromkeys(conflicts)
                if not conflicts:
                    group.append(part)
                    break
            else:
                alike.append([part])
        if len(alike) == 1:
            continue
        for group in alike:
            for part in group:
                names.setdefault(part.run, {})[algorithm] = f"{algorithm} ({group[0].run})"
        runs = " and ".join(group[0].run for group in alike)
        more = f" and {len(keys) - MOST_KEYS} more" if len(keys) > MOST_KEYS else ""
        text = f"{runs} differ in {', '.join([*keys][:MOST_KEYS])}{more}, and are not averaged"
        datasets = frozenset(name for part in those for name in _datasets(part))
        apart.setdefault((text, datasets), []).append(algorithm)
    found = [
        Difference(datasets, f"{text} together: {', '.join(algorithms)}")
        for (text, datasets), algorithms in apart.items()
    ]
    return [
        _renamed(part, algorithms=names[part.run]) if part.run in names else part for part in parts
    ], found


def _differing(a: Part, b: Part, algorithm: str) -> list[str]:
    """Keys in which a row of both would mix what is not alike."""
    shared = [name for name in _datasets(a) if name in _datasets(b)]
    keys = dict[str, None]()
    for of_a, of_b in [(_datasets(a)[0], _datasets(b)[0]), *((name, name) for name in shared)]:
        ours, theirs = _leaves(a.sweep, of_a, algorithm), _leaves(b.sweep, of_b, algorithm)
        for key in ours:
            # A key that one lacks is younger than its run, which went as the default does.
            told = of_a == of_b or key.startswith(OF_ALL_DATASETS)
            if told and key in theirs and ours[key] != theirs[key]:
                keys[key] = None
    return [*keys]


def _leaves(sweep: Sweep, dataset: str, algorithm: str) -> dict[str, str]:
    """What the numbers of an algorithm on a dataset depend on, by key, as text."""
    search = dict(sweep.get("search") or {})
    space = search.pop("space", None) or {}
    values = keys_of_dataset(sweep, dataset)
    values |= {f"search.{key}": value for key, value in search.items()}
    values |= {f"search.space.{key}": value for key, value in (space.get(algorithm) or {}).items()}
    if values.get("training.augmentation") in ("exact", "device"):
        values["training.augmentation"] = "auto"  # the same, computed elsewhere
    return {key: repr(value) for key, value in values.items() if key not in IMMATERIAL}


def _same_data(parts: Sequence[Part]) -> list[Difference]:
    """Two names for the same images, which an average over datasets would count twice."""
    names: dict[str, dict[str, None]] = {}
    for part in parts:
        for dataset, mark in part.fingerprints.items():
            if dataset in _datasets(part):
                names.setdefault(mark, {})[dataset] = None
    return [
        Difference(
            frozenset(those),
            f"{' and '.join(those)} are the same images, which an average over datasets counts "
            f"{len(those)} times",
        )
        for those in names.values()
        if len(those) > 1
    ]


def _refuse_twice(parts: Sequence[Part]) -> None:
    holder: dict[tuple[Any, ...], str] = {}
    for part in parts:
        for study in asked_studies(part.sweep):
            name = study["study"]
            # What makes it the same in any run, whatever its sweep and its files are called.
            columns = (value for key, value in study.items() if key not in ("sweep", "study"))
            other = holder.setdefault(tuple(columns), part.run)
            if other != part.run:
                raise SteppeError(
                    f"{other} and {part.run} both hold the study {name}, and two searches are not "
                    "mixed: name one of them; a copy of a run counts once"
                )


def _datasets(part: Part) -> list[str]:
    sweep = part.sweep
    return [*sweep["datasets"]] if sweep.get("datasets") else [sweep["dataset"]["name"]]


def _renamed(
    part: Part,
    name: str | None = None,
    datasets: Mapping[str, str] | None = None,
    algorithms: Mapping[str, str] | None = None,
) -> Part:
    """The run with other names in its sweep and tables, and so of its studies and trials."""
    of_data, of_methods = datasets or {}, algorithms or {}
    sweep: dict[str, Any] = dict(part.sweep)
    sweep["name"] = name or sweep["name"]
    if sweep.get("datasets"):
        sweep["datasets"] = {of_data.get(key, key): own for key, own in sweep["datasets"].items()}
    else:
        own_name = sweep["dataset"]["name"]
        sweep["dataset"] = {**sweep["dataset"], "name": of_data.get(own_name, own_name)}
    sweep["algorithms"] = [of_methods.get(key, key) for key in sweep["algorithms"]]
    search = dict(sweep.get("search") or {})
    if search.get("space"):
        search["space"] = {of_methods.get(key, key): own for key, own in search["space"].items()}
        sweep["search"] = search
    pairs = zip(asked_studies(part.sweep), asked_studies(sweep), strict=True)
    studies = {old["study"]: new["study"] for old, new in pairs}
    columns = {"dataset": of_data, "algorithm": of_methods, "study": studies}
    return replace(
        part,
        sweep=sweep,
        trials=_with_names(part.trials, columns, sweep["name"]),
        evaluations=_with_names(part.evaluations, columns, sweep["name"]),
        fingerprints={of_data.get(key, key): mark for key, mark in part.fingerprints.items()},
        ended=frozenset(studies.get(study, study) for study in part.ended),
    )


def _with_names(
    frame: pd.DataFrame, columns: Mapping[str, Mapping[str, str]], sweep: str
) -> pd.DataFrame:
    changed: dict[str, Any] = {"sweep": sweep}
    for column, names in columns.items():
        if column in frame:
            old = frame[column].astype(object)
            changed[column] = old.map(lambda value, of=names: of.get(value, value))
    studies = columns["study"]

    def trial(name: str) -> str:
        study, dot, number = name.rpartition(".")
        return studies.get(study, study) + dot + number

    new = {name: trial(str(name)) for name in frame["trial"].unique()}
    changed["trial"] = frame["trial"].astype(object).map(new)
    return frame.assign(**changed)
