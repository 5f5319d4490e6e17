"""A search with two objectives: what its trials gain in one by losing in the other."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from search.report.against_accuracy import MOST_POINTS, crowded
from search.report.figure import (
    INK,
    STAR,
    Figure,
    Legend,
    by_dataset,
    panels,
    styles_of,
    trial_labels,
)
from search.report.reported_run import ReportedRun
from search.results.fronts import VALUES, on_front, two_objectives


def front(run: ReportedRun) -> Figure | None:
    """Both values of every completed trial, a panel per held-out domain, and each study's front.

    None for a search with one objective, or without a completed trial.
    """
    if not two_objectives(run.sweep):
        return None
    done = run.trials[run.trials["state"] == "completed"].dropna(subset=VALUES)
    if done.empty:
        return None
    done = done.assign(front=on_front(done))
    names = run.sweep.search.objectives
    return Figure(
        "front",
        "The two objectives",
        "A point is a completed trial at the step that the first objective chose. A line joins the "
        "front of a study: the trials that no other of its trials beats in both objectives. "
        f"A star was selected by {run.method} validation.",
        by_dataset(done, lambda rows: _drawing(run, rows, names)),
        crowded(done),
    )


def _drawing(run: ReportedRun, rows: pd.DataFrame, names: Sequence[str]) -> go.Figure:
    styles = styles_of(run.algorithms)
    domains = list(dict.fromkeys(rows["held_out"]))
    figure, places = panels([f"{domain} held out" for domain in domains], 300)
    legend = Legend()
    for domain, place in zip(domains, places, strict=True):
        here = rows[rows["held_out"] == domain]
        some = here[here["front"] | (here["number"] % -(-len(here) // MOST_POINTS) == 0)]
        for (algorithm, _), study in some.groupby(["algorithm", "study"], sort=False):
            for points, line in ((study[~study["front"]], False), (study[study["front"]], True)):
                if points.empty:
                    continue
                points = points.sort_values("objective")
                style = styles[algorithm]
                stars = [trial in run.selected for trial in points["trial"]]
                figure.add_scatter(
                    x=points["objective"].round(5).tolist(),
                    y=points["objective_2"].round(5).tolist(),
                    mode="lines+markers" if line else "markers",
                    line=style.line(1.5, shape="vh"),
                    marker={
                        "color": style.colour,
                        "symbol": [STAR if star else style.symbol for star in stars],
                        "size": [14 if star else 8 if line else 6 for star in stars],
                        "line": {"color": INK, "width": [1 if star else 0 for star in stars]},
                    },
                    opacity=1 if line else 0.5,
                    **legend.of(algorithm, shown=line),
                    text=trial_labels(algorithm, points),
                    hovertemplate="%{text}<br>%{x:.1%}, %{y:.1%}<extra></extra>",
                    **place,
                )
    figure.update_xaxes(title_text=names[0], tickformat=".0%", nticks=6)
    figure.update_yaxes(tickformat=".0%")
    figure.update_yaxes(title_text=names[1], col=1)
    figure.update_layout(showlegend=True)
    return figure
