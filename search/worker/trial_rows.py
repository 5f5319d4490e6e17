"""The rows that trials leave in the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from search.study.folds import makes_folds
from search.study.plan import TrialSpec
from search.sweep.schema import Sweep
from training.evaluation import Evaluation


@dataclass(frozen=True)
class Progress:
    """What a trial says of itself at each evaluation; nothing in it was measured on the held-out
    domain, unless the objective is an oracle.

    value: of the objective so far, None before the first evaluation; best_step: where it is from.
    second: of the second objective at that step, if the search has two.
    started: seconds since the epoch. state: None while it goes on. note: what is to be logged.
    passes: training.passes.Passes.spent so far. With folds (search.study.folds), step, seconds and passes
    are those of all runs that this trial carried out. folds: how many there are, in the report at
    the end of one; None in all other reports, whose value is no news. images: that value was
    measured on; of folds, in these reports alone.
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
    folds: int | None = None
    second: float | None = None
    images: int = 0

    @property
    def values(self) -> tuple[float, ...]:
        """Of all objectives."""
        return tuple(value for value in (self.value, self.second) if value is not None)


def values_of(row: Mapping[str, Any]) -> tuple[float, ...]:
    """What `Progress.values` were when a row of `trials` was written."""
    values = (row["objective"], row.get("objective_2"))
    return tuple(value for value in values if value is not None)


def trial_row(
    sweep: Sweep, spec: TrialSpec, progress: Progress | None, state: str, reason: str | None
) -> dict[str, Any]:
    """A row of `trials`; without progress, of a trial that never got to its first evaluation.

    The score of some of its folds is not the objective, and may well be above what all would give.
    """
    row = {
        **study_columns(sweep, spec),
        "trial": spec.trial,
        "number": spec.number,
        "state": state,
        "reason": reason or None,
        "finished": datetime.now(UTC),
        **{f"hp_{name}": value for name, value in spec.values.items()},
    }
    if progress is not None:
        whole = state == "completed" or not makes_folds(sweep.search)
        row |= {
            "steps": progress.step,
            "best_step": progress.best_step if whole else None,
            "objective": progress.value if whole else None,
            "objective_2": progress.second,
            "seconds": progress.seconds,
            "passes": progress.passes,
            "started": datetime.fromtimestamp(progress.started, UTC),
            "node": progress.node,
            "device": progress.device,
        }
    return row


def evaluation_rows(
    evaluations: Sequence[Evaluation], fold: str | None = None
) -> list[dict[str, Any]]:
    """Rows of `evaluations`, one per (step, weights, domain, split).

    `fold`: the domain that the fold leaves out which they are of; None for the trial's own run.
    """
    return [
        {
            "step": evaluation.step,
            "weights": evaluation.weights,
            "fold": fold,
            "seconds": evaluation.seconds,
            "passes": evaluation.passes,
            **asdict(score),
        }
        for evaluation in evaluations
        for score in evaluation.scores
    ]


def study_columns(sweep: Sweep, spec: TrialSpec) -> Mapping[str, Any]:
    study = spec.study
    return {"sweep": sweep.name, "study": study.id, **study.columns}
