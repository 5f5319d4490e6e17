"""The folds of one trial: those that it trains, and those that another trial has trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search.run.run_folder import RunFolder
from search.run.shared_runs import read_fold, write_fold
from search.study import folds
from search.study.folds import Fold
from search.study.plan import TrialSpec
from search.worker.trial_rows import evaluation_rows
from training.evaluation import Evaluation
from training.run import Run


class TrialFolds:
    """The finished folds of a trial.

    steps, seconds, passes: their cost to this trial; a fold that another trial trained is free.
    """

    def __init__(self, folder: RunFolder, spec: TrialSpec) -> None:
        self._folder = folder
        self._spec = spec
        self.ended: list[Fold] = []
        self.steps = 0
        self.seconds = 0.0
        self.passes = 0.0

    @property
    def best(self) -> tuple[float | None, int | None]:
        """The best score over the finished folds, and the step that has it."""
        return folds.best_mean(self.ended)

    @property
    def images(self) -> int:
        """The number of images that the score was measured on."""
        return sum(fold.evaluations[0].scores[0].count for fold in self.ended)

    def take(self, run: Run) -> bool:
        """Adds a fold that was trained before; False if there is none."""
        found = read_fold(self._folder, self._spec.study, run)
        if found is None:
            return False
        trial, evaluations = found
        self._add(run, evaluations, own=trial == self._spec.trial)
        return True

    def add(self, run: Run, evaluations: Sequence[Evaluation]) -> None:
        """Adds a fold that this trial has trained, and writes it for other trials."""
        write_fold(self._folder, self._spec.study, run, self._spec.trial, evaluations)
        self._add(run, evaluations, own=True)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the finished folds in `evaluations`."""
        return [
            row for fold in self.ended for row in evaluation_rows(fold.evaluations, fold.left_out)
        ]

    def _add(self, run: Run, evaluations: Sequence[Evaluation], own: bool) -> None:
        self.ended.append(folds.visible_fold(run, evaluations))
        if own:
            last = evaluations[-1]
            self.steps += last.step
            self.seconds += last.seconds
            self.passes += last.passes
