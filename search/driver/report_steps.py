"""The steps under which the search keeps what trials report.

They are a trial's own steps, and with folds (search.study.folds) those of the folds that have ended,
whoever carried them out: so trials are compared after the same folds. Where the sweep asks for it,
passes stand in the place of steps (search.compare_at).
"""

from __future__ import annotations

import datasets
from search.space import algorithm_names
from search.study.folds import makes_folds
from search.sweep.per_dataset import OneDataset
from search.worker.trial_rows import Progress
from training.algorithms import passes_per_step


def whole(one: OneDataset) -> int:
    """Of a trial of the dataset: its own, and those of a fold for each source domain before."""
    if not makes_folds(one.search):
        return one.training.steps
    return one.training.steps * len(datasets.describe(one.dataset.name, one.dataset.root).domains)


def unit(one: OneDataset, algorithm: str) -> float:
    """What stands in the place of an algorithm's ordinary step: the passes that it takes, or 1."""
    if one.search.compare_at == "steps":
        return 1.0
    return passes_per_step(algorithm_names.split(algorithm)[0])


def step_of(one: OneDataset, progress: Progress) -> int | None:
    """Where a report belongs; None if it is a sign of life in the midst of a fold, or after all."""
    if not makes_folds(one.search):
        # A step takes at least one pass, so that no two reports have the same whole number.
        return int(progress.passes) if one.search.compare_at == "passes" else progress.step
    return None if progress.folds is None else progress.folds * one.training.steps
