"""The folds of one trial: those that it carries out, and those that another has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search.run.run_folder import RunFolder
from search.run.shared_folds import SharedFolds
from search.study import folds
from search.study.folds import Fold
from search.study.plan import TrialSpec
from search.worker.trial_rows import evaluation_rows
from training.evaluation import Evaluation
from training.run import Run


class TrialFolds:
    """What is known of them so far.

    steps, seconds, passes: what they cost this trial; one that another carried out is free.
    """

    def __init__(self, folder: RunFolder, spec: TrialSpec) -> None:
        self._shared = SharedFolds(folder, spec.study)
        self._trial = spec.trial
        self.ended: list[Fold] = []
        self.steps = 0
        self.seconds = 0.0
        self.passes = 0.0

    @property
    def best(self) -> tuple[float | None, int | None]:
        """The score of the folds that have ended, and the step that has it."""
        return folds.best(self.ended)

    @property
    def images(self) -> int:
        """That the score was measured on."""
        return sum(fold.evaluations[0].scores[0].count for fold in self.ended)

    def take(self, run: Run) -> bool:
        """Adds a fold that was carried out before; False if there is none."""
        found = self._shared.read(run)
        if found is None:
            return False
        trial, evaluations = found
        self._add(run, evaluations, own=trial == self._trial)
        return True

    def carried_out(self, run: Run, evaluations: Sequence[Evaluation]) -> None:
        """Adds a fold that this trial carried out, and keeps it for others."""
        self._shared.write(run, self._trial, evaluations)
        self._add(run, evaluations, own=True)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of `evaluations`."""
        return [
            row for fold in self.ended for row in evaluation_rows(fold.evaluations, fold.left_out)
        ]

    def _add(self, run: Run, evaluations: Sequence[Evaluation], own: bool) -> None:
        self.ended.append(folds.ended(run, evaluations))
        if own:
            last = evaluations[-1]
            self.steps += last.step
            self.seconds += last.seconds
            self.passes += last.passes
