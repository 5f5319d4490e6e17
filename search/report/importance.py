"""How much each hyperparameter explains of the search objective, as a table in colours."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from search import results
from search.errors import SteppeError
from search.report.figure import INK, Figure, apply_theme, by_dataset, label
from search.report.reported_run import ReportedRun
from search.results.hyperparameter_importance import MOST


def importance(run: ReportedRun) -> Figure | str:
    """Algorithms down and hyperparameters across, for each dataset.

    A sentence instead if there are too few trials.
    """
    try:
        found = results.importance(run)
    except SteppeError as error:
        return str(error)
    computed = set(found["algorithm"])
    without = [name for name in run.algorithms if name not in computed]
    told = [f"Too few completed trials for {', '.join(without)}."] if without else []
    done = run.trials[run.trials["state"] == "completed"]
    if done.groupby(["dataset", "algorithm"]).size().max() > MOST:
        told.append(f"Of more than {MOST} trials of an algorithm, evenly chosen ones.")
    return Figure(
        "importance",
        "Importance of the hyperparameters",
        "The share of the variance of validation accuracy that a hyperparameter explains (fANOVA), "
        "from the completed trials of all studies of an algorithm, each less the mean of its "
        "study. The shares of a row sum to 100. Pruned trials are left out.",
        by_dataset(found, _drawing),
        " ".join(told),
    )


def _drawing(found: pd.DataFrame) -> go.Figure:
    table = found.pivot_table(
        index="algorithm", columns="hyperparameter", values="importance", sort=False
    )
    table = table[table.sum().sort_values(ascending=False).index].iloc[::-1]  # upwards, as drawn
    values = [[None if pd.isna(v) else round(v, 4) for v in row] for row in table.to_numpy()]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[label(name) for name in table.columns],
            y=[label(name) for name in table.index],
            text=[["" if v is None else f"{100 * v:.0f}" for v in row] for row in values],
            texttemplate="%{text}",
            hovertemplate="%{y}, %{x}: %{z:.1%}<extra></extra>",
            zmin=0,
            zmax=1,
            # From the page's own ground, so that the numbers can be read on it.
            colorscale=[[0, "var(--heat-low)"], [1, "var(--heat-high)"]],
            xgap=2,
            ygap=2,
            textfont={"color": INK},
            colorbar={"tickformat": ".0%", "outlinewidth": 0, "thickness": 14},
        )
    )
    apply_theme(figure, 110 + 30 * len(table))
    figure.update_xaxes(showgrid=False, ticks="", side="top", type="category")
    figure.update_yaxes(showgrid=False, type="category")
    return figure
