"""The figure of benchmarks.search_efficiency: how fast searches come to the best that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from benchmarks.search_gains import Compared, interval

# Of Okabe and Ito: told apart also by those who see few colours; a scheduler is a dash.
COLOURS = {
    "random": "#666666",
    "tpe": "#0072B2",
    "gp": "#D55E00",
    "cmaes": "#009E73",
    "prior": "#CC79A7",
}
DASHES = {"none": "solid", "median": "dot", "asha": "dash", "freeze-thaw": "longdash"}
GRID = np.linspace(0.02, 1, 50)  # of what the protocol spends


def regret_figure(compared: Sequence[Compared], protocol: str, default: str) -> go.Figure:
    """Regret in validation, and held-out accuracy less the protocol's, against what was spent.

    Lines are means over studies, bands their 95 % intervals for the protocol and the default; a
    search that has ended keeps its choice.
    """
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=[
            "Validation: best known less the choice's",
            "Held-out accuracy: the choice's less that of the protocol's end",
        ],
    )
    for search in compared[0].played:
        for column in (1, 2):
            lines = np.array([line(one, search, protocol, column) for one in compared])
            draw(figure, lines, compared, search, column, search in (protocol, default))
    figure.update_layout(template="simple_white", width=1500, height=620, font={"size": 14})
    figure.update_xaxes(title="passes, of those the protocol spends", tickformat=".0%")
    figure.update_yaxes(tickformat=".1%")
    figure.update_yaxes(type="log", dtick="D2", row=1, col=1)
    return figure


def line(one: Compared, search: str, protocol: str, column: int) -> np.ndarray:
    """A study's values on the grid; before the first evaluation, those of the first."""
    played, other = one.played[search], one.played[protocol]
    at = [played.at(passes) for passes in GRID * other.spent]
    if column == 1:
        return one.known - np.array(played.validation)[at]
    return np.array(played.held_out)[at] - other.held_out[-1]


def draw(
    figure: go.Figure,
    lines: np.ndarray,
    compared: Sequence[Compared],
    search: str,
    column: int,
    band: bool,
) -> None:
    sampler, scheduler = search.split(" ")[0].split("/")
    look = {"color": COLOURS[sampler], "dash": DASHES[scheduler], "width": 3 if band else 1.5}
    if " " in search:
        look["dash"] = "longdashdot" if " x" in search else "dashdot"
    figure.add_scatter(
        x=GRID,
        y=lines.mean(0),
        name=search,
        legendgroup=search,
        line=look,
        showlegend=column == 1,
        row=1,
        col=column,
    )
    if not band:
        return
    by_pair: dict[tuple[str, int], list[int]] = {}
    for at, one in enumerate(compared):
        by_pair.setdefault((one.held_out, one.seed), []).append(at)
    means = [interval([column_[own] for own in by_pair.values()]) for column_ in lines.T]
    figure.add_scatter(
        x=[*GRID, *GRID[::-1]],
        y=[*(mean.high for mean in means), *(mean.low for mean in means[::-1])],
        fill="toself",
        fillcolor=look["color"],
        opacity=0.2,
        line={"width": 0},
        legendgroup=search,
        showlegend=False,
        hoverinfo="skip",
        row=1,
        col=column,
    )
