"""Whether flat minima generalize, where the sweep measured flatness."""

from __future__ import annotations

import pandas as pd

from search.report.by_domain import crowded, drawing, mean_correlation, titled
from search.report.figure import Figure, label, log_axis
from search.report.run import Run

_MEASURES = {
    "sharpness": "sharpness (nats)",
    "curvature": "largest eigenvalue of the Hessian",
}


def flatness(run: Run, scores: pd.DataFrame) -> Figure | None:
    """Flatness on the source domains against held-out accuracy; None if it was not measured."""
    selected = set(run.chosen["trial"])
    drawings = {}
    for dataset, group in scores.groupby("dataset", sort=False, observed=True):
        for measure, title in _MEASURES.items():
            rows = group[group[measure].notna() & group["accuracy"].notna()]
            if rows.empty:
                continue
            low, high = float(rows[measure].min()), float(rows[measure].max())
            scale = log_axis(low, high) if low > 0 else {"tickformat": "~g"}
            axis = {"title_text": title, **scale}
            titles = {
                str(domain): titled(str(domain), _correlation(own, measure))
                for domain, own in rows.groupby("held_out", sort=False, observed=True)
            }
            drawings[label(f"{dataset}: {measure}")] = drawing(
                rows, measure, titles, run.algorithms, selected, axis
            )
    if not drawings:
        return None
    return Figure(
        "flatness",
        "Flatness against accuracy",
        "A point is a completed trial at its selected step, a star one that was selected in its "
        "study: how sharp the loss is on the source domains (their mean), and the accuracy on the "
        "held-out domain. If flat minima generalize, the points fall from left to right, and the "
        "rank correlation (over the trials of all algorithms, mean over seeds) is below 0.",
        drawings,
        crowded(scores),
    )


def _correlation(rows: pd.DataFrame, measure: str) -> float | None:
    # Within a seed: every algorithm has the same splits there.
    return mean_correlation([own for _, own in rows.groupby("seed")], measure)[0]
