"""Trials as points: validation or flatness along x, held-out accuracy along y.

There is a panel for each held-out domain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from search.report.figure import (
    INK,
    Figure,
    Legend,
    label,
    log_axis,
    panels,
    styles_of,
    trial_labels,
)
from search.report.reported_run import ReportedRun
from search.results.accuracy_line import NORMAL
from search.results.formats import cell_text

FEWEST_TRIALS = 3  # for a rank correlation
MOST_POINTS = 300  # in a panel

_TICKS = [0.01, 0.02, 0.05, *(n / 20 for n in range(2, 19)), 0.92, 0.94, 0.95, 0.96, 0.97, 0.98]
_TICKS += [0.99, 0.995, 0.999]

_MEASURES = {
    "sharpness": "sharpness (nats)",
    "curvature": "largest eigenvalue of the Hessian",
}


def _drawing(
    rows: pd.DataFrame,
    measure: str,
    titles: Mapping[str, str],
    run: ReportedRun,
    axis: Mapping[str, Any],
    probits: Mapping[str, tuple[float, float]] | None = None,
) -> go.Figure:
    """Column `measure` of these trials along x, `accuracy` along y.

    titles: of the panel of each held-out domain. axis: how plotly draws x. probits: the columns `x`
    and `y` are drawn in their place, with these lines, slope and intercept of each held-out domain
    that has one.
    """
    x, y = (measure, "accuracy") if probits is None else ("x", "y")
    algorithms, selected = run.algorithms, run.selected
    styles = styles_of(algorithms)
    figure, places = panels(list(titles.values()), 300)
    legend = Legend()
    for domain, place in zip(titles, places, strict=True):
        every = rows[rows["held_out"] == domain]
        here = _fewer(every, selected)
        if probits is not None and domain in probits:
            slope, intercept = probits[domain]
            ends = np.array([every["x"].min(), every["x"].max()])
            figure.add_scatter(
                x=ends.round(4).tolist(),
                y=(slope * ends + intercept).round(4).tolist(),
                mode="lines",
                line={"color": INK, "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
                **place,
            )
        for algorithm in algorithms:
            points = here[here["algorithm"] == algorithm]
            if points.empty:
                continue
            starred = points["trial"].isin(selected)
            for some, star in ((points[~starred], False), (points[starred], True)):
                figure.add_scatter(
                    x=some[x].round(6).tolist(),
                    y=some[y].round(5).tolist(),
                    mode="markers",
                    **legend.of(algorithm, shown=not star),
                    marker=styles[algorithm].marker(14 if star else 7, star),
                    text=_told(algorithm, some, measure),
                    hovertemplate="%{text}<extra></extra>",
                    **place,
                )
    figure.update_xaxes(nticks=6, **axis)
    figure.update_yaxes(**({"tickformat": ".0%"} if probits is None else _probit_axis(rows["y"])))
    figure.update_yaxes(title_text="held-out accuracy", col=1)
    figure.update_layout(showlegend=True)
    return figure


def _told(algorithm: str, trials: pd.DataFrame, measure: str) -> list[str]:
    """What a reader sees of each trial at its point."""
    names = trial_labels(algorithm, trials)
    values = zip(names, trials[measure], trials["accuracy"], strict=True)
    return [f"{name}<br>{cell_text(float(v))}, held-out {100 * a:.1f}%" for name, v, a in values]


def _probit_axis(values: pd.Series) -> dict[str, Any]:
    """How plotly draws an axis of probits: with the accuracies that they are of."""
    low, high = NORMAL.cdf(values.min()), NORMAL.cdf(values.max())
    within = [p for p in _TICKS if low <= p <= high]
    shown = within[:: -(-len(within) // 7)] if len(within) > 1 else [low, high]
    texts = [f"{100 * p:.3g}%" for p in shown]
    return {"tickvals": [round(NORMAL.inv_cdf(p), 4) for p in shown], "ticktext": texts}


def crowded(rows: pd.DataFrame) -> str:
    """A sentence for readers if not all of these trials are drawn."""
    if rows.groupby(["dataset", "held_out"]).size().max() <= MOST_POINTS:
        return ""
    return f"About {MOST_POINTS} evenly chosen trials in a panel, and as many selected ones."


def _rank_correlation(rows: pd.DataFrame, measure: str) -> float | None:
    """Spearman's, of a measure and held-out accuracy; None for too few trials or no difference."""
    pairs = rows[[measure, "accuracy"]].astype(float)
    if len(rows) < FEWEST_TRIALS or (pairs.nunique() == 1).any():
        return None
    return float(pairs.corr("spearman").to_numpy()[0, 1])


def _mean_correlation(groups: Sequence[pd.DataFrame], measure: str) -> tuple[float | None, int]:
    """The mean over the groups that have one, and how many have."""
    found = [c for group in groups if (c := _rank_correlation(group, measure)) is not None]
    return (float(np.mean(found)) if found else None), len(found)


def _titled(domain: str, found: float | None, what: str = "rank correlation") -> str:
    """The title of a panel."""
    told = "" if found is None or np.isnan(found) else f" ({what} {found:.2f})".replace("-", "−")
    return f"{domain} held out{told}"


def _fewer(rows: pd.DataFrame, selected: set[str]) -> pd.DataFrame:
    every = max(-(-len(rows) // MOST_POINTS), 1)
    chosen = rows["trial"].isin(selected).to_numpy()
    of_these = max(-(-int(chosen.sum()) // MOST_POINTS), 1)
    keep = (np.arange(len(rows)) % every == 0) | (chosen & (np.cumsum(chosen) % of_these == 0))
    thinned: pd.DataFrame = rows.loc[keep]
    return thinned


@dataclass(frozen=True)
class ValidationQuality:
    """How well validation ranks the trials of studies of one held-out domain, and what that costs.

    trials: those that are compared, of `asked` ones. at: the steps at which they are, as text.
    correlation: Spearman's of validation and held-out accuracy, mean over `studies`; None if no
    study can have one. lost: held-out accuracy of the best completed trial less that of the
    selected one, mean over the studies with several trials, a fraction; None without any.
    """

    dataset: str
    held_out: str
    trials: int
    asked: int
    at: str
    studies: int
    correlation: float | None
    lost: float | None


def validation_quality(run: ReportedRun) -> list[ValidationQuality]:
    """How well validation chose, for each held-out domain."""
    measured = run.scores.dropna(subset=["validation", "accuracy"])
    done = measured.groupby("study")["accuracy"].agg(["max", "size"])
    chosen = run.winners.set_index("study")["accuracy"].dropna()
    rows = []
    for (dataset, domain), group in run.comparable.groupby(["dataset", "held_out"], sort=False):
        studies = {str(study): trials for study, trials in group.groupby("study")}
        found, count = _mean_correlation(list(studies.values()), "validation")
        lost = [
            float(done["max"][study] - chosen[study])
            for study in studies
            if study in chosen.index and done["size"].get(study, 0) > 1
        ]
        asked = sum(int(trials["of"].iloc[0]) for trials in studies.values())
        mean = float(np.mean(lost)) if lost else None
        where = (str(dataset), str(domain), len(group), asked, _steps(group["at"]))
        rows.append(ValidationQuality(*where, count, found, mean))
    return rows


def _steps(at: pd.Series) -> str:
    """The common steps of studies, as text; empty where trials are taken at selected ones."""
    steps = sorted(set(at.dropna().astype(int)))
    if not steps:
        return ""
    listed = str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    return f"{listed}, or selected" if at.isna().any() else listed


def validation_figure(run: ReportedRun) -> Figure | None:
    """Validation against held-out accuracy, a panel per held-out domain; None without any."""
    scores = run.comparable
    if scores.empty:
        return None
    drawings = {}
    for dataset, group in scores.groupby("dataset", sort=False):
        own = run.lines[(run.lines["dataset"] == dataset) & (run.lines["trials"] > 0)]
        rows = own.to_dict("records")
        titles = {row["held_out"]: _titled(row["held_out"], row["r"], "R") for row in rows}
        fits = {row["held_out"]: (row["slope"], row["intercept"]) for row in rows if row["reading"]}
        axis = {"title_text": "validation", **_probit_axis(group["x"])}
        drawings[label(dataset)] = _drawing(group, "validation", titles, run, axis, fits)
    return Figure(
        "validation",
        "Accuracy on the line",
        "A point is a trial of the tables above; a star is the selected trial of a study. Axes are "
        "probits of the accuracies. Where the points lie close to a rising line, validation on the "
        "source domains tells the held-out accuracy of a trial, whatever its algorithm.",
        drawings,
        crowded(scores),
    )


def flatness_figure(run: ReportedRun) -> Figure | None:
    """Flatness on the source domains against held-out accuracy; None if it was not measured."""
    drawings = {}
    for dataset, group in run.scores.groupby("dataset", sort=False):
        for measure, title in _MEASURES.items():
            rows = group[group[measure].notna() & group["accuracy"].notna()]
            if rows.empty:
                continue
            low, high = float(rows[measure].min()), float(rows[measure].max())
            scale = log_axis(low, high) if low > 0 else {"tickformat": "~g"}
            axis = {"title_text": title, **scale}
            titles = {}
            for domain, own in rows.groupby("held_out", sort=False):
                # Within a seed: every algorithm has the same splits there.
                seeds = [of_seed for _, of_seed in own.groupby("seed")]
                titles[str(domain)] = _titled(str(domain), _mean_correlation(seeds, measure)[0])
            drawings[label(f"{dataset}: {measure}")] = _drawing(rows, measure, titles, run, axis)
    if not drawings:
        return None
    return Figure(
        "flatness",
        "Flatness against accuracy",
        "A point is a completed trial at its selected step, a star one that was selected in its "
        "study. Along x is how sharp the loss is on the source domains (their mean), along y the "
        "accuracy on the held-out domain. If flat minima generalize, the points fall from left to "
        "right, and the rank correlation (over the trials of all algorithms, mean over seeds) is "
        "below 0.",
        drawings,
        crowded(run.scores),
    )
