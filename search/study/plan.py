"""The plan of a study: all that its trials, tables and reports need to know of the sweep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import datasets
from datasets.domain_dataset import members
from search.space import algorithm_names
from search.space.published_settings import published
from search.space.ranges import Range, Value
from search.study.folds import makes_folds
from search.study.study import Study, studies, trials_per_study
from search.study.study_space import (
    averaging_of,
    begins_with,
    column_types,
    first_settings,
    random_weights,
    start_of,
    study_space,
)
from search.sweep.objectives import oracles
from search.sweep.per_dataset import DatasetSweep, by_dataset
from search.sweep.schema import Dataset, Model, Resources, Sweep, batch_norm
from search.sweep.search_keys import Search
from search.sweep.training_keys import Training
from training.algorithms import ZERO_SHOT, passes_per_step
from training.averaging import AVERAGINGS
from training.run import Run
from training.update import FORWARD

ERMPP_PROBE = 501  # linear_steps + 1 of its class in DomainBed
_TRAINING_FIELDS = [own.name for own in fields(Run) if own.name in Training.model_fields]


@dataclass(frozen=True)
class StudyPlan:
    """What one study does.

    sweep: name of its sweep. training: the keys for its dataset, with `averaging`, `bn`, `device`,
    `start_steps` and `start_lr` decided. space: the range of every hyperparameter. column_types:
    the type of every hyperparameter of the sweep, each of which has a column in the tables. trials:
    how many trials it is to have. begins_with: the settings that it tries first
    (study_space.begins_with). as_before: whether it begins, draws and stops trials as the runs of
    earlier commits: with the first of these settings alone, with draws of its own, and with the
    margins of validation noise.
    """

    sweep: str
    study: Study
    dataset: Dataset
    model: Model
    training: Training
    search: Search
    resources: Resources
    space: Mapping[str, Range]
    column_types: Mapping[str, type[int] | type[float]]
    trials: int
    begins_with: Sequence[Mapping[str, Value]]
    as_before: bool

    @cached_property
    def domains(self) -> tuple[str, ...]:
        """All domains of its dataset, in the dataset's order.

        Raises FileNotFoundError for a user's own images, if they are not there.
        """
        return datasets.describe(self.dataset.name, self.dataset.root).domains

    @property
    def makes_folds(self) -> bool:
        """Whether its trials are scored by leave-one-domain-out cross-validation."""
        return makes_folds(self.search)

    @property
    def steps(self) -> int:
        """Steps of a run of its trials; zero-shot makes none."""
        return 0 if self.study.algorithm == ZERO_SHOT else self.training.steps

    @property
    def total_steps(self) -> int:
        """Steps of a whole trial: its own run and, if it has folds, one for each source domain."""
        sources = len(self.domains) - len(members(self.study.held_out))
        runs = 1 + sources if self.makes_folds else 1
        return self.training.steps * runs

    @property
    def grace_steps(self) -> int:
        """Steps before which no trial is stopped."""
        if self.makes_folds:
            return self.training.steps
        if self.search.grace_steps is not None:
            return self.search.grace_steps
        return default_grace(
            self.training.steps, self.training.evaluate_every, self.search.reduction_factor
        )

    @property
    def resource_per_step(self) -> float:
        """What a step counts when trials are compared: 1, or its passes, by search.compare_at."""
        return 1.0 if self.search.compare_at == "steps" else self.passes_per_step

    @property
    def passes_per_step(self) -> float:
        """Passes over a batch of an ordinary step, with the one that an average may take."""
        average = AVERAGINGS.get(self.training.averaging)
        looks = average is not None and average.sees_batches and self.training.bn == "updated"
        own = passes_per_step(algorithm_names.split(self.study.algorithm)[0])
        return own + FORWARD * looks

    @cached_property
    def columns(self) -> Mapping[str, Any]:
        """The columns of the study in every table."""
        return {"sweep": self.sweep, "study": self.study.id, **self.study.columns}

    def first_settings(self, earlier: Sequence[Mapping[str, Value]] = ()) -> list[dict[str, Value]]:
        """What it tries first: what it begins with, those of earlier runs, those of the sweep."""
        if self.search.sampler == "grid":  # tries every point anyway
            return []
        return first_settings(self.space, self.begins_with, [*earlier, *self.search.first_trials])

    def trial(self, number: int, values: Mapping[str, Value]) -> TrialSpec:
        """The trial of this number, with these hyperparameters."""
        return TrialSpec(self, number, values)


@dataclass(frozen=True)
class TrialSpec:
    """What one trial does. Its key everywhere is (study, number)."""

    plan: StudyPlan
    number: int
    values: Mapping[str, Value]

    @property
    def study(self) -> Study:
        """The study that it belongs to."""
        return self.plan.study

    @property
    def trial(self) -> str:
        """Its name in files and tables."""
        return f"{self.study.id}.{self.number}"

    @property
    def run(self) -> Run:
        """The training run that it asks for."""
        study, model, training = self.study, self.plan.model, self.plan.training
        root = self.plan.dataset.root
        # A key of `training` is the field of that name, but for these.
        keys = {name: getattr(training, name) for name in _TRAINING_FIELDS} | {
            "steps": self.plan.steps,
            "bn": "frozen" if training.bn == "frozen" else "updated",
        }
        if training.evaluations == "needed" and oracles(self.plan.search.objectives):
            keys["evaluations"] = "held_out"
        if training.start == "model" or study.algorithm == ZERO_SHOT:  # no probe comes before
            keys = {name: key for name, key in keys.items() if not name.startswith("start")}
        else:
            keys["start_batch_size"] = training.batch_size
        return Run(
            dataset=study.dataset,
            root=None if root is None else str(root),
            model=study.model,
            algorithm=algorithm_names.split(study.algorithm)[0],
            held_out=study.held_out,
            seed=study.seed,
            hyperparameters=dict(self.values),  # type: ignore[arg-type]
            weights=model.weights,
            head=model.head,
            prompts=() if model.head == "linear" else model.prompts,
            tuning=model.tuning,
            **keys,
        )


def plans(sweep: Sweep) -> dict[str, StudyPlan]:
    """The plan of each study of a checked sweep, by the study's id, in the order of the file."""
    over = by_dataset(sweep)
    types = column_types(sweep)
    # Studies of an algorithm on a dataset differ in their held-out domain and seed only.
    shared: dict[tuple[str, str], StudyPlan] = {}
    found: dict[str, StudyPlan] = {}
    for study in studies(sweep):
        key = study.dataset, study.algorithm
        if key not in shared:
            shared[key] = _plan(over[study.dataset], study, types, sweep.searches_as_before)
        found[study.id] = replace(shared[key], study=study)
    return found


def _plan(
    sweep: DatasetSweep,
    study: Study,
    types: Mapping[str, type[int] | type[float]],
    as_before: bool,
) -> StudyPlan:
    space = study_space(sweep, study.algorithm)
    begin = begins_with(sweep, study.algorithm)
    decided = {
        "averaging": averaging_of(sweep, study.algorithm),
        "bn": batch_norm(sweep),
        "device": device(sweep),
        "start": start_of(sweep, study.algorithm),
        "start_steps": sweep.training.start_steps or _probe_steps(sweep, study.algorithm),
        "start_lr": sweep.training.start_lr or _usual_lr(sweep),
    }
    return StudyPlan(
        sweep=sweep.name,
        study=study,
        dataset=sweep.dataset,
        model=sweep.model,
        training=sweep.training.model_copy(update=decided),
        search=sweep.search,
        resources=sweep.resources,
        space=space,
        column_types=types,
        trials=trials_per_study(sweep.search.trials, space),
        begins_with=begin[:1] if as_before else begin,
        as_before=as_before,
    )


def default_grace(steps: int, evaluate_every: int, reduction_factor: int) -> int:
    """Steps to the first of three rungs, in whole evaluations; the last is at 2/3 of a trial."""
    evaluations = math.ceil(2 / 3 * steps / reduction_factor**2 / evaluate_every)
    return min(evaluations * evaluate_every, steps)


def _probe_steps(sweep: DatasetSweep, algorithm: str) -> int:
    """As many as the run, as DiWA; as published of ERM++, unless the run is shorter."""
    steps = sweep.training.steps
    return min(ERMPP_PROBE, steps) if averaging_of(sweep, algorithm) == "erm++" else steps


def _usual_lr(sweep: DatasetSweep) -> float:
    """The published learning rate of ERM, whose default settings DiWA probes with."""
    value = published((), sweep.dataset.name, random_weights(sweep))["lr"].value
    assert isinstance(value, float)
    return value


def device(sweep: Sweep) -> str:
    """The device of the trials: for `auto` a GPU if resources give them one."""
    if sweep.training.device != "auto":
        return sweep.training.device
    return "cuda" if sweep.resources.gpus > 0 else "cpu"
