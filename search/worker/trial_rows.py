"""The rows that trials leave in the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from search.assignment import Assignment
from search.config import Sweep
from training.evaluation import Evaluation


@dataclass(frozen=True)
class Progress:
    """What a trial says of itself at each evaluation; nothing in it was measured on the held-out
    domain.

    value: best value of the objective so far, None before the first evaluation; best_step: where.
    started: seconds since the epoch. state: None while it goes on. note: what is to be logged.
    passes: training.passes.Passes.spent so far.
    """

    step: int
    value: float | None
    best_step: int | None
    seconds: float
    started: float
    node: str
    device: str
    state: str | None = None
    reason: str | None = None
    note: str | None = None
    passes: float = 0.0


def trial_row(
    sweep: Sweep, assignment: Assignment, progress: Progress | None, state: str, reason: str | None
) -> dict[str, Any]:
    """A row of `trials`; without progress, of a trial that never got to its first evaluation."""
    row = {
        **study_columns(sweep, assignment),
        "trial": assignment.trial,
        "number": assignment.number,
        "state": state,
        "reason": reason or None,
        "finished": datetime.now(UTC),
        **{f"hp_{name}": value for name, value in assignment.values.items()},
    }
    if progress is not None:
        row |= {
            "steps": progress.step,
            "best_step": progress.best_step,
            "objective": progress.value,
            "seconds": progress.seconds,
            "passes": progress.passes,
            "started": datetime.fromtimestamp(progress.started, UTC),
            "node": progress.node,
            "device": progress.device,
        }
    return row


def evaluation_rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Rows of `evaluations`, one per (step, weights, domain, split)."""
    return [
        {
            "step": evaluation.step,
            "weights": evaluation.weights,
            "seconds": evaluation.seconds,
            "passes": evaluation.passes,
            **asdict(score),
        }
        for evaluation in evaluations
        for score in evaluation.scores
    ]


def study_columns(sweep: Sweep, assignment: Assignment) -> Mapping[str, Any]:
    study = assignment.study
    return {"sweep": sweep.name, "study": study.id, **asdict(study)}
