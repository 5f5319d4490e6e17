"""What one trial is told to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search.config import Sweep
from search.space import Value
from search.studies import Study
from training.run import Run


@dataclass(frozen=True)
class Assignment:
    """A trial, known everywhere by (study, number), and its hyperparameters."""

    study: Study
    number: int
    values: Mapping[str, Value]

    @property
    def trial(self) -> str:
        return f"{self.study.id}.{self.number}"


def run_of(sweep: Sweep, assignment: Assignment) -> Run:
    """The training run that an assignment asks for."""
    study, root = assignment.study, sweep.dataset.root
    # Keys of a sweep's training that are a run's own fields, under the same names.
    fields = Run.__dataclass_fields__.keys() & type(sweep.training).model_fields.keys()
    return Run(
        dataset=study.dataset,
        root=None if root is None else str(root),
        model=study.model,
        algorithm=study.algorithm,
        held_out=study.held_out,
        seed=study.seed,
        weights=sweep.model.weights,
        hyperparameters=dict(assignment.values),  # type: ignore[arg-type]
        **{name: getattr(sweep.training, name) for name in fields - {"device"}},
        device=device(sweep),
    )


def device(sweep: Sweep) -> str:
    """Where trials compute; `auto` is a GPU if they are given one."""
    if sweep.training.device != "auto":
        return sweep.training.device
    return "cuda" if sweep.resources.gpu > 0 else "cpu"
