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
    study, training = assignment.study, sweep.training
    root = sweep.dataset.root
    return Run(
        dataset=study.dataset,
        root=None if root is None else str(root),
        model=study.model,
        algorithm=study.algorithm,
        held_out=study.held_out,
        seed=study.seed,
        steps=training.steps,
        evaluate_every=training.evaluate_every,
        hyperparameters=dict(assignment.values),  # type: ignore[arg-type]
        optimizer=training.optimizer,
        momentum=training.momentum,
        rho_schedule=training.rho_schedule,
        rho_warmup=training.rho_warmup,
        rho_floor=training.rho_floor,
        bn_second_pass=training.bn_second_pass,
        evaluations=training.evaluations,
        device="cuda" if sweep.resources.gpu > 0 else "cpu",
    )
