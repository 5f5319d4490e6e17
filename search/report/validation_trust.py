"""How far selection by validation on source domains can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from search.report.by_domain import crowded, drawing, mean_correlation, titled
from search.report.figure import Figure, label
from search.report.run import Run


@dataclass(frozen=True)
class Trust:
    """A held-out domain: how validation ranks the trials of a study, and what that costs.

    `correlation`: Spearman's of validation and held-out accuracy, mean over `studies`, None if no
    study can have one. `lost`: held-out accuracy of the best completed trial less that of the
    selected one, mean over `lost_in` studies, a fraction.
    """

    dataset: str
    held_out: str
    trials: int
    studies: int
    correlation: float | None
    lost: float | None
    lost_in: int


def trust(run: Run, scores: pd.DataFrame) -> list[Trust]:
    """A row for each held-out domain; `scores` as `scores.scores` returns them."""
    scores = _measured(scores)
    chosen = run.chosen.set_index("study")["accuracy"].dropna()
    rows = []
    for (dataset, domain), group in scores.groupby(
        ["dataset", "held_out"], sort=False, observed=True
    ):
        studies = {str(study): trials for study, trials in group.groupby("study", observed=True)}
        found, count = mean_correlation(list(studies.values()), "validation")
        lost = [
            float(trials["accuracy"].max() - chosen[study])
            for study, trials in studies.items()
            if len(trials) > 1 and study in chosen.index
        ]
        mean = float(np.mean(lost)) if lost else None
        rows.append(Trust(str(dataset), str(domain), len(group), count, found, mean, len(lost)))
    return rows


def trust_figure(run: Run, scores: pd.DataFrame, rows: list[Trust]) -> Figure | None:
    """Validation against held-out accuracy, a panel per held-out domain; None without any."""
    scores = _measured(scores)
    if scores.empty:
        return None
    selected = set(run.chosen["trial"])
    drawings = {}
    for dataset, group in scores.groupby("dataset", sort=False, observed=True):
        titles = {
            row.held_out: titled(row.held_out, row.correlation)
            for row in rows
            if row.dataset == dataset
        }
        axis = {"title_text": "validation", "tickformat": ".0%"}
        drawings[label(dataset)] = drawing(
            group, "validation", titles, run.algorithms, selected, axis
        )
    return Figure(
        "trust",
        "Validation against held-out accuracy",
        "A point is a completed trial at its selected step; a star was selected in its study. "
        "Where the points rise from left to right, source validation chooses well. The rank "
        "correlation is the mean over the studies of that domain.",
        drawings,
        crowded(scores),
    )


def _measured(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores["validation"].notna() & scores["accuracy"].notna()]
