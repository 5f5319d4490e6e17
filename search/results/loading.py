"""Runs as results read them: the sweep.yaml and the tables of each, joined into one set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd
from pandas.api.types import union_categoricals
from pydantic import ValidationError

from search import yaml_file
from search.checks.schema_messages import problems_of
from search.errors import SteppeError
from search.results.selection import METHODS
from search.run import tables, wall_clock
from search.run.columns import WORDS
from search.run.manifest import held_out_labels, in_earlier_run
from search.run.run_folder import SWEEP, RunFolder
from search.space.ranges import Range
from search.study.budgets import (
    BUDGET,
    STUDY_BUDGET,
    Limit,
    Spent,
    has_limit,
    limits,
    spent_by_study,
)
from search.study.study import Study, studies
from search.sweep.config_errors import dotted
from search.sweep.fields import RECORDED
from search.sweep.objectives import oracles
from search.sweep.per_dataset import by_dataset, with_originals_of_its_time
from search.sweep.schema import Sweep

DEFAULT_METHOD = "training-domain"  # the one of DomainBed that does not see the held-out domain

_ORDERS: Mapping[str, Sequence[str]] = {**WORDS, "method": METHODS}
_CATEGORIES = (
    *("sweep", "study", "dataset", "model", "algorithm", "held_out", "fold", "domain"),
    *("node", "device"),
    *_ORDERS,
)


@dataclass(frozen=True)
class LoadedRun:
    """A run as results have it: what its folder says, and the names that it has in tables.

    name: of its folder; its URI if another run has that name. ended: the studies that have ended,
    by their names in the run's files. budget: the limits of its budget, and what is spent of each.
    fingerprints: of the images, by dataset; empty where the run does not say. weights: sha256 of
    the file of weights; None without one, and where the run does not say. sweep_name,
    dataset_names, algorithm_names: names in tables, where the sweep's own would mix this run with
    another (search.results.display_names). shaped: why labels of held-out domains shaped the run.
    weights_known: whether the origin of that file is known.
    """

    name: str
    sweep: Sweep
    ended: frozenset[str]
    budget: Sequence[Limit]
    fingerprints: Mapping[str, str]
    weights: str | None
    sweep_name: str
    shaped: Sequence[str] = ()
    weights_known: bool = True
    dataset_names: Mapping[str, str] = field(default_factory=dict)
    algorithm_names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def studies(self) -> Mapping[Study, Study]:
        """Its studies as tables name them, by the studies of its sweep."""
        return {
            study: replace(
                study,
                dataset=self.dataset_names.get(study.dataset, study.dataset),
                algorithm=self.algorithm_names.get(study.algorithm, study.algorithm),
            )
            for study in studies(self.sweep)
        }

    @cached_property
    def study_columns(self) -> Sequence[Mapping[str, Any]]:
        """The study columns of all tables, a mapping for each study, in the order of the sweep."""
        return [
            {"sweep": self.sweep_name, "study": study.id, **study.columns}
            for study in self.studies.values()
        ]

    @cached_property
    def unfinished(self) -> frozenset[str]:
        """The studies that have not ended, by their names in tables."""
        return frozenset(
            study.id for own, study in self.studies.items() if own.id not in self.ended
        )

    @property
    def datasets(self) -> dict[str, str]:
        """The name in the sweep of each dataset, by its name in tables."""
        one = self.sweep.dataset
        names = self.sweep.datasets if one is None else [one.name]
        return {self.dataset_names.get(name, name): name for name in names}

    def written_keys(self, dataset: str) -> dict[str, Any]:
        """The model and the training on a dataset of the sweep, by `training.steps` and the like.

        A key that is younger than the run has its default, as which the run was trained. Where the
        default is `auto`, only the file could say what it meant, and the key is missing.
        """
        one = by_dataset(self.sweep)[dataset]
        sections = {"model": one.model, "training": one.training}
        return {
            f"{name}.{key}": value
            for name, section in sections.items()
            for key, value in section.model_dump(mode="json").items()
            if key in section.model_fields_set or value != "auto"
        }


def read_sweep(folder: RunFolder) -> Sweep:
    """The sweep of a run folder, as `launch` resolved it.

    It was checked then; checking it again would need its datasets and torch. A run of an earlier
    commit may lack keys, which take their defaults, and have keys that no longer exist, which are
    ignored. Raises SteppeError for a file that `launch` did not write.
    """
    source = folder.path(SWEEP)
    data = yaml_file.parse(folder.read_bytes(SWEEP), source, yaml_file.UnquotedLoader)
    try:
        sweep = _known_keys(with_originals_of_its_time(data))
        if sweep.dataset is None and not sweep.datasets:
            raise ValueError("it has no dataset")
        sweep = sweep.of_earlier_run() if in_earlier_run(folder) else sweep
        studies(sweep)
    except SteppeError:  # of another file
        raise
    except (ValueError, OSError) as error:
        why = str(error)
        if isinstance(error, ValidationError):
            why = "; ".join(f"{dotted(p.path)} {p.text}" for p in problems_of(error))
        raise SteppeError(
            f"{source} is not a sweep as `launch` writes it ({why}); put a copy back"
        ) from None
    return sweep


def _known_keys(data: dict[str, Any]) -> Sweep:
    """The sweep in a file, without the keys that it does not have. Raises ValidationError."""
    try:
        return Sweep.model_validate(data, context=RECORDED)
    except ValidationError as error:
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        if len(unknown) < error.error_count():
            raise
    for *place, key in unknown:
        section: Any = data
        for name in place:
            section = section[name]
        del section[key]
    return Sweep.model_validate(data, context=RECORDED)


def run_folders(runs: Sequence[str | os.PathLike[str]]) -> list[RunFolder]:
    """The folders of runs. Raises SteppeError for what is no run, and for one given twice."""
    if not runs:
        raise SteppeError("name at least one run, such as runs/quickstart")
    folders: dict[str, RunFolder] = {}
    for run in runs:
        folder = RunFolder.existing(run)
        place = os.path.realpath(folder.root) if folder.local else folder.uri
        if place in folders:
            raise SteppeError(f"the run {folder.uri} is given twice; name it once")
        folders[place] = folder
    return [*folders.values()]


def read_run(
    folder: RunFolder, name: str, fingerprints: Mapping[str, str], weights: str | None = None
) -> tuple[LoadedRun, pd.DataFrame, pd.DataFrame]:
    """A run of this name, its trials and its evaluations."""
    sweep = read_sweep(folder)
    # In this order: a trial in `trials` has all of its evaluations.
    ended = frozenset(tables.ended_studies(folder))
    trials = tables.read_trials(folder)
    tables.check_studies(folder, sweep, trials)
    evaluations = tables.read_evaluations(folder)
    budget = spent(folder, sweep, trials)
    shaped = held_out_labels(folder, sweep.search)
    return (
        LoadedRun(name, sweep, ended, budget, fingerprints, weights, sweep.name, *shaped),
        trials,
        evaluations,
    )


def main_method(sweeps: Iterable[Sweep]) -> str:
    """The selection method where none is named: the first objective of these sweeps.

    It is training-domain if their objectives differ, or if theirs sees the held-out domain.
    """
    first, *others = {sweep.search.objectives[0] for sweep in sweeps}
    return DEFAULT_METHOD if others or oracles([first]) else first


def ranges_of(sweep: Sweep, algorithm: str) -> Mapping[str, Range]:
    """The range of each hyperparameter of an algorithm, as sweep.yaml has them written out."""
    written = sweep.search.space.get(algorithm, {})
    return written if isinstance(written, dict) else {}


def spent(folder: RunFolder, sweep: Sweep, trials: pd.DataFrame) -> list[Limit]:
    """The limits of a run's budget, and what its trials in the tables and its drivers spent."""
    budget = dict(sweep.search.budget)
    if not has_limit(budget):
        return []
    cost = sum(spent_by_study(trials).values(), Spent())
    hours = 0.0 if budget["wall_hours"] is None else wall_clock.read(folder) / 3600
    return limits(BUDGET, budget, dict(sweep.resources), cost, hours)


def spent_studies(sweep: Sweep, trials: pd.DataFrame) -> set[str]:
    """The studies of a run that have spent what each may."""
    budget, resources = dict(sweep.search.study_budget), dict(sweep.resources)
    return {
        study
        for study, cost in spent_by_study(trials).items()
        if any(limit.reached for limit in limits(STUDY_BUDGET, budget, resources, cost))
    }


def in_tables(frame: pd.DataFrame, run: LoadedRun) -> pd.DataFrame:
    """A table of the run with the names that the run has in tables."""
    if run.sweep_name == run.sweep.name and not (run.dataset_names or run.algorithm_names):
        return frame
    studies = {own.id: study.id for own, study in run.studies.items()}
    names = {"dataset": run.dataset_names, "algorithm": run.algorithm_names, "study": studies}
    changed: dict[str, Any] = {"sweep": run.sweep_name}
    for column, new in names.items():
        if column in frame:
            old = frame[column].astype(object)
            changed[column] = old.map(lambda value, new=new: new.get(value, value))

    def renamed(trial: str) -> str:
        study, dot, number = trial.rpartition(".")
        return studies.get(study, study) + dot + number

    trials = {trial: renamed(str(trial)) for trial in frame["trial"].unique()}
    changed["trial"] = frame["trial"].astype(object).map(trials)
    return frame.assign(**changed)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One frame after the other; columns that one lacks are null there, categories are united."""
    some = [frame for frame in frames if len(frame)] or frames[:1]
    if len(some) == 1:
        return some[0]
    same = [
        name
        for name in some[0]
        if all(name in frame and frame[name].dtype == "category" for frame in some)
    ]
    plain = pd.concat([frame.drop(columns=same) for frame in some], ignore_index=True)
    for name in same:
        plain[name] = union_categoricals([frame[name] for frame in some])
    names = dict.fromkeys(name for frame in some for name in frame)
    return plain[list(names)]


def sweeps_of(runs: Mapping[str, LoadedRun]) -> dict[str, Sweep]:
    """The sweeps of runs, by the name that tables have of them."""
    return {run.sweep_name: run.sweep for run in runs.values()}


def categorical(frame: pd.DataFrame, studies: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The frame with its texts as categories, those of the studies in the order these are in."""
    changed = {}
    for name in _CATEGORIES:
        if name in frame:
            order = _ORDERS.get(name) or [study[name] for study in studies if name in study]
            column = frame[name].astype("category")
            found = column.cat.categories
            known = dict.fromkeys(value for value in order if value in found)
            changed[name] = column.cat.set_categories([*dict.fromkeys([*known, *found])])
    return frame.assign(**changed)
