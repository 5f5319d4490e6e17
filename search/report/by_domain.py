"""Trials as points, a panel per held-out domain: some measure of them against held-out accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import spearmanr

from search.report.figure import INK, STAR, label, looks, panels, place

COLUMNS = 3
FEWEST_TRIALS = 3  # for a rank correlation
MOST_POINTS = 300  # in a panel


def drawing(
    rows: pd.DataFrame,
    measure: str,
    titles: Mapping[str, str],
    algorithms: Sequence[str],
    selected: set[str],
    axis: Mapping[str, Any],
) -> go.Figure:
    """Column `measure` of these trials along x, `accuracy` along y.

    `titles`: of the panel of each held-out domain. `algorithms`: all of the run. `axis`: how plotly
    is to draw x.
    """
    looks_ = looks(algorithms)
    columns = min(COLUMNS, len(titles))
    figure = panels(list(titles.values()), columns, 300)
    named: set[str] = set()
    for panel, domain in enumerate(titles):
        here = _fewer(rows[rows["held_out"] == domain], selected)
        for algorithm in algorithms:
            points = here[here["algorithm"] == algorithm]
            if points.empty:
                continue
            look = looks_[algorithm]
            starred = points["trial"].isin(selected)
            for some, star in ((points[~starred], False), (points[starred], True)):
                figure.add_scatter(
                    x=some[measure].round(6).tolist(),
                    y=some["accuracy"].round(5).tolist(),
                    mode="markers",
                    name=label(algorithm),
                    legendgroup=algorithm,
                    showlegend=not star and algorithm not in named,
                    marker={
                        "color": look.colour,
                        "symbol": STAR if star else look.symbol,
                        "size": 14 if star else 7,
                        "line": {"color": INK, "width": 1 if star else 0},
                    },
                    text=[
                        label(f"{algorithm}, seed {seed}, trial {number}")
                        for seed, number in zip(some["seed"], some["number"], strict=True)
                    ],
                    hovertemplate="%{text}<br>%{x:.4~g}, held-out %{y:.1%}<extra></extra>",
                    **place(panel, columns),
                )
            named.add(algorithm)
    figure.update_xaxes(nticks=6, **axis)
    figure.update_yaxes(tickformat=".0%")
    figure.update_yaxes(title_text="held-out accuracy", col=1)
    figure.update_layout(showlegend=True)
    return figure


def crowded(rows: pd.DataFrame) -> str:
    """What a reader is told if not all of these trials are drawn."""
    if rows.groupby(["dataset", "held_out"], observed=True).size().max() <= MOST_POINTS:
        return ""
    return f"About {MOST_POINTS} evenly chosen trials in a panel, beside the selected ones."


def correlation(rows: pd.DataFrame, measure: str) -> float | None:
    """Spearman's, of a measure and held-out accuracy; None for too few trials or no difference."""
    differ = all(rows[column].nunique() > 1 for column in (measure, "accuracy"))
    if len(rows) < FEWEST_TRIALS or not differ:
        return None
    return float(spearmanr(rows[measure], rows["accuracy"]).statistic)


def mean_correlation(groups: Sequence[pd.DataFrame], measure: str) -> tuple[float | None, int]:
    """The mean over the groups that have one, and how many have."""
    found = [c for group in groups if (c := correlation(group, measure)) is not None]
    return (float(np.mean(found)) if found else None), len(found)


def titled(domain: str, found: float | None) -> str:
    """What stands above a panel."""
    told = "" if found is None else f" (rank correlation {found:.2f})".replace("-", "−")
    return f"{domain} held out{told}"


def _fewer(rows: pd.DataFrame, selected: set[str]) -> pd.DataFrame:
    every = max(-(-len(rows) // MOST_POINTS), 1)
    keep = rows["trial"].isin(selected).to_numpy() | (np.arange(len(rows)) % every == 0)
    thinned: pd.DataFrame = rows.loc[keep]
    return thinned
