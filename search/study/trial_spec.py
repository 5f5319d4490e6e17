"""What one trial is told to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from search.space import algorithm_names
from search.space.ranges import Value
from search.study.studies import Study
from search.sweep.model_layers import batch_norm
from search.sweep.objectives import peeking
from search.sweep.per_dataset import of_dataset
from search.sweep.schema import Sweep
from training.run import Evaluations, Run


@dataclass(frozen=True)
class TrialSpec:
    """A trial, known everywhere by (study, number), and its hyperparameters."""

    study: Study
    number: int
    values: Mapping[str, Value]

    @property
    def trial(self) -> str:
        return f"{self.study.id}.{self.number}"


def run_of(sweep: Sweep, spec: TrialSpec) -> Run:
    """The training run that an spec asks for."""
    study = spec.study
    one = of_dataset(sweep, study.dataset)
    root, training = one.dataset.root, one.training
    algorithm, average = algorithm_names.split(study.algorithm)
    # Keys of a sweep's training that are a run's own fields, under the same names.
    fields = Run.__dataclass_fields__.keys() & type(training).model_fields.keys()
    return Run(
        dataset=study.dataset,
        root=None if root is None else str(root),
        model=study.model,
        algorithm=algorithm,
        held_out=study.held_out,
        seed=study.seed,
        weights=sweep.model.weights,
        hyperparameters=dict(spec.values),  # type: ignore[arg-type]
        tuning=sweep.model.tuning,
        **{
            name: getattr(training, name)
            for name in fields - {"averaging", "bn", "device", "evaluations"}
        },
        evaluations=_evaluations(sweep, training.evaluations),
        bn="frozen" if batch_norm(one, training) == "frozen" else "updated",
        averaging=average or training.averaging,
        device=device(one),
    )


def _evaluations(sweep: Sweep, asked: Literal["needed", "all"]) -> Evaluations:
    return "held_out" if asked == "needed" and peeking(sweep.search.objectives) else asked


def device(one: Sweep) -> str:
    """Where trials of a dataset compute; `auto` is a GPU if they are given one."""
    if one.training.device != "auto":
        return one.training.device
    return "cuda" if one.resources.gpu > 0 else "cpu"
