"""Leave-one-domain-out cross-validation: the folds of a trial, and the score that they give.

A fold is a run of the trial's setting that leaves out a source domain besides the held-out one, and
is scored on that domain. A trial has one fold for each source domain, in the dataset's order; they
come before its own run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from datasets.domain_dataset import members
from search.sweep.objectives import LEAVE_ONE_DOMAIN_OUT
from search.sweep.search_keys import Search
from training.run import Run

if TYPE_CHECKING:
    from training.evaluation import Evaluation


@dataclass(frozen=True)
class Fold:
    """A fold that has ended; its evaluations have no score but that of the domain left out."""

    left_out: str
    evaluations: tuple[Evaluation, ...]


def makes_folds(search: Search) -> bool:
    """Whether the trials of a sweep have folds."""
    return search.objective == LEAVE_ONE_DOMAIN_OUT


def folds_of(run: Run, domains: Sequence[str]) -> list[Run]:
    """The folds of a run, of a dataset with these domains."""
    held_out = members(run.held_out)
    return [replace(run, left_out=domain) for domain in domains if domain not in held_out]


def visible_fold(run: Run, evaluations: Sequence[Evaluation]) -> Fold:
    """The fold without any score of the held-out domain, as its study may see it."""
    assert run.left_out is not None
    seen = [
        replace(
            evaluation,
            scores=tuple(
                replace(score, role="left_out")
                for score in evaluation.scores
                if score.domain == run.left_out
            ),
        )
        for evaluation in evaluations
    ]
    return Fold(run.left_out, tuple(seen))


def best_mean(folds: Sequence[Fold]) -> tuple[float | None, int | None]:
    """The highest mean accuracy of the folds at one step, and the first step that has it.

    Only steps at which every fold was scored count; (None, None) if there are none. Bit for bit as
    search.results.selection_rules.leave_one_domain_out.
    """
    by_fold = [{e.step: e.scores[0].accuracy for e in fold.evaluations} for fold in folds]
    means = {
        step: float(np.mean([accuracy[step] for accuracy in by_fold]))
        for step in (by_fold[0] if by_fold else ())
        if all(step in accuracy for accuracy in by_fold)
    }
    if not means:
        return None, None
    step = max(means, key=means.__getitem__)  # the first among equals
    return means[step], step
