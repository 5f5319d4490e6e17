"""Parallel coordinates: every setting as a line through its values.

Optuna's drawing has a trace per trial and colours for a light background: too large for a page of
many studies, and hard to see in the dark. Plotly's needs WebGL, which does not print.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from search.report.figure import INK, MUTED, PAPER, Figure, apply_theme, label
from search.report.reported_run import ReportedRun, searched
from search.results.formats import cell_text
from search.space.ranges import Interval, Range

MOST_LINES = 20_000  # in all drawings together
FEWEST_LINES = 50  # in one, if there are more trials
TICKS = 5
SHADES = 5  # var(--scale-0) and on


@dataclass(frozen=True)
class Axis:
    """One upright axis: the height, in [0, 1], at which each trial crosses it, and its ticks."""

    name: str
    heights: np.ndarray
    ticks: dict[float, str]


def parallel(run: ReportedRun) -> Figure | None:
    """A drawing for each dataset and algorithm with two completed trials; None without any."""
    scores = run.scores[run.scores["below"].notna()]
    keys = ["dataset", "algorithm"]
    groups = [
        (str(dataset), str(algorithm), rows)
        for (dataset, algorithm), rows in scores.groupby(keys, sort=False)
        if len(rows) > 1 and searched(rows)
    ]
    most = max(MOST_LINES // max(len(groups), 1), FEWEST_LINES)
    drawings = {
        label(algorithm if len(run.datasets) == 1 else f"{dataset}: {algorithm}"): _drawing(
            rows.iloc[:: -(-len(rows) // most)], run.space(algorithm)
        )
        for dataset, algorithm, rows in groups
    }
    if not drawings:
        return None
    crowded = any(len(rows) > most for *_, rows in groups)
    return Figure(
        "parallel",
        "Parallel coordinates",
        "A line is a completed trial; all held-out domains and seeds are shown together. The last "
        "axis says how many percentage points of validation accuracy it is below the best of its "
        "study. The best fifth is drawn thick; the others fade, fifth by fifth.",
        drawings,
        f"At most {most} evenly chosen trials in a drawing." if crowded else "",
    )


def _drawing(scores: pd.DataFrame, space: Mapping[str, Range]) -> go.Figure:
    names = [name for name in searched(scores) if scores[f"hp_{name}"].notna().all()]
    scores = scores.sort_values("below", kind="stable")  # the best on top of the others
    below = 100 * scores["below"]
    axes = [_axis(name, scores[f"hp_{name}"], space.get(name)) for name in names]
    axes.append(_axis("points below best", below, None))
    figure = go.Figure()
    for shade, part in enumerate(np.array_split(np.arange(len(scores)), SHADES)):
        figure.add_scatter(
            **_lines(scores.iloc[part], [axis.heights[part] for axis in axes]),
            mode="lines",
            line={"color": f"var(--scale-{shade})", "width": 2.5 if shade == SHADES - 1 else 1.2},
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )
    apply_theme(figure, 400)
    figure.update_layout(
        margin={"l": 60, "r": 60, "t": 50, "b": 20},
        hovermode="closest",
        xaxis={
            "side": "top",
            "tickvals": list(range(len(axes))),
            "ticktext": [label(axis.name) for axis in axes],
            "range": [-0.3, len(axes) - 0.7],
            "showgrid": False,
            "ticks": "",
            "zeroline": False,
            "showline": False,
        },
        yaxis={"visible": False, "range": [-0.06, 1.06]},
        shapes=[
            {"type": "line", "x0": i, "x1": i, "y0": 0, "y1": 1, "line": {"color": MUTED}}
            for i in range(len(axes))
        ],
        annotations=[
            _tick(i, height, text)
            for i, axis in enumerate(axes)
            for height, text in axis.ticks.items()
        ],
    )
    return figure


def _tick(axis: int, height: float, text: str) -> dict[str, object]:
    """The label of a tick, left of its axis."""
    return {
        "x": axis,
        "y": height,
        "text": label(text),
        "showarrow": False,
        "xanchor": "right",
        "xshift": -4,
        "font": {"color": INK, "size": 11},
        "bgcolor": PAPER,
        "borderpad": 0,
    }


def _lines(scores: pd.DataFrame, heights: list[np.ndarray]) -> dict[str, list[Any]]:
    """All of these trials as one line with gaps."""
    found: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    rows = scores[["held_out", "seed", "number", "below"]].itertuples(index=False)
    for line, (held_out, seed, number, below) in enumerate(rows):
        told = f"{held_out} held out, seed {seed}, trial {number}: {100 * below:.2f}"
        found["x"] += [*range(len(heights)), None]
        found["y"] += [*(round(float(axis[line]), 4) for axis in heights), None]
        found["text"] += [label(told)] * (len(heights) + 1)
    return found


def _axis(name: str, values: pd.Series, range_: Range | None) -> Axis:
    if not pd.api.types.is_numeric_dtype(values):
        places = {value: float(place) for place, value in enumerate(sorted(set(values)))}
        words = {place: str(value) for value, place in places.items()}
        return _scaled(name, values.map(places).to_numpy(dtype=float), words)
    plain = values.to_numpy(dtype=float)
    log = isinstance(range_, Interval) and range_.log and plain.min() > 0
    drawn = np.log10(plain) if log else plain
    at = np.unique(drawn)
    if len(at) > TICKS:
        at = np.linspace(drawn.min(), drawn.max(), TICKS)
    return _scaled(name, drawn, {float(v): cell_text(float(10**v if log else v)) for v in at})


def _scaled(name: str, drawn: np.ndarray, ticks: dict[float, str]) -> Axis:
    low, room = drawn.min(), float(np.ptp(drawn)) or 1.0
    return Axis(name, (drawn - low) / room, {(v - low) / room: text for v, text in ticks.items()})
