"""What a trial reports to the driver, and the rows that it writes into the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from search.study.plan import TrialSpec

if TYPE_CHECKING:
    from training.evaluation import Evaluation

# Fields of a report that are columns of `trials` too.
AS_IN_ROW = ("seconds", "passes", "node", "device", "gpu", "gpu_memory", "gpu_beside")


@dataclass(frozen=True)
class Progress:
    """A trial's report at an evaluation. Only an oracle's objective is from the held-out domain.

    value: the objective so far, None before the first evaluation. best_step: the step it is from.
    second: the second objective at that step, if the search has two. started: seconds since the
    epoch. state: None while the trial runs, `frozen` when it leaves its worker. note: a message for
    the driver's log. passes: training.passes.Passes.spent so far. images: the number of images
    behind the value.

    With folds (search.study.folds), step, seconds and passes include all runs that this trial
    trained. The report at the end of a fold has the number of finished folds in `folds`, and
    `images`; in all other reports `folds` is None, and the value is not new.
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
    gpu: float | None = None
    gpu_memory: float | None = None
    gpu_beside: float | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """The values of all objectives; empty before the first evaluation."""
        return tuple(value for value in (self.value, self.second) if value is not None)

    @classmethod
    def of_result(cls, result: Mapping[str, Any]) -> Progress:
        """The report in a result of Tune's."""
        return cls(**{field.name: result.get(field.name) for field in fields(cls)})  # type: ignore[arg-type]

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Progress:
        """The last report of a trial, as its row has it."""
        return cls(
            step=row["steps"],
            value=row["objective"],
            best_step=row["best_step"],
            started=row["started"].timestamp(),
            **{name: row.get(name) for name in AS_IN_ROW},  # type: ignore[arg-type]
        )


def values_of(row: Mapping[str, Any]) -> tuple[float, ...]:
    """`Progress.values` as a row of `trials` has them."""
    values = (row["objective"], row.get("objective_2"))
    return tuple(value for value in values if value is not None)


def trial_row(
    spec: TrialSpec, progress: Progress | None, state: str, reason: str | None
) -> dict[str, Any]:
    """A row of `trials`. progress: None for a trial that never reached its first evaluation.

    The objective is left out if only some of the folds have ended: their score is not comparable.
    """
    row = {
        **spec.plan.columns,
        "trial": spec.trial,
        "number": spec.number,
        "state": state,
        "reason": reason or None,
        "finished": datetime.now(UTC),
        **{f"hp_{name}": value for name, value in spec.values.items()},
    }
    if progress is not None:
        comparable = state == "completed" or not spec.plan.makes_folds
        row |= {
            "steps": progress.step,
            "best_step": progress.best_step if comparable else None,
            "objective": progress.value if comparable else None,
            "objective_2": progress.second,
            "started": datetime.fromtimestamp(progress.started, UTC),
            **{name: getattr(progress, name) for name in AS_IN_ROW},
        }
    elif state == "pruned":  # without being trained
        row |= {"steps": 0, "seconds": 0.0, "passes": 0.0}
    return row


def evaluation_rows(
    evaluations: Sequence[Evaluation], fold: str | None = None
) -> list[dict[str, Any]]:
    """Rows of `evaluations`, one per (step, weights, domain, split).

    fold: the domain that their fold leaves out; None for the trial's own run.
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
