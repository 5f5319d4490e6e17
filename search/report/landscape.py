"""Where in the space of an algorithm the good settings lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from search.report.figure import INK, MUTED, SCALE, STAR, Figure, label, log_axis, panels
from search.report.reported_run import ReportedRun, searched
from search.results.formats import DIGITS, cell_text
from search.space.ranges import Interval, Range

MOST_POINTS = 400  # in a panel
_DARKEST = 0.2  # this share of the trials, the worst, has the darkest colour

_SCORES = {
    "validation": ("below", "validation"),
    "held-out accuracy (to look at, not to choose by)": ("accuracy_below", "held-out accuracy"),
}


def landscape(run: ReportedRun) -> Figure | None:
    """A panel per algorithm, for each dataset; None if no hyperparameter was searched."""
    drawings: dict[str, go.Figure] = {}
    crowded = False
    for dataset, rows in run.scores.groupby("dataset", sort=False):
        stopped = run.trials[
            (run.trials["dataset"] == dataset) & (run.trials["state"] != "completed")
        ]
        for name, (column, title) in _SCORES.items():
            good = rows[rows[column].notna()]
            found = {
                algorithm: (axes, good[good["algorithm"] == algorithm])
                for algorithm in run.algorithms
                if (axes := axes_of(rows[rows["algorithm"] == algorithm]))
            }
            found = {algorithm: pair for algorithm, pair in found.items() if len(pair[1])}
            if not found:
                continue
            crowded |= any(len(points) > MOST_POINTS for _, points in found.values())
            drawings[label(f"{dataset}: {name}")] = _drawing(found, stopped, run, (column, title))
    if not drawings:
        return None
    return Figure(
        "landscape",
        "Landscape of the settings",
        "A point is a completed trial; all held-out domains and seeds are shown together. Its "
        "colour says how many percentage points of accuracy it is below the best trial of its "
        "study; the more it stands out, the better. Stars are the selected trials, crosses those "
        "that were pruned or diverged.",
        drawings,
        f"At most {MOST_POINTS} evenly chosen trials in a panel, and as many selected ones."
        if crowded
        else "",
    )


def axes_of(trials: pd.DataFrame) -> tuple[str, str] | None:
    """What to draw along x and y: rho and alpha, else lr and rho, else what there is."""
    names = searched(trials)
    if not names:
        return None
    for pair in (("rho", "alpha"), ("lr", "rho")):
        if set(pair) <= set(names):
            return pair
    return (names[0], names[1]) if len(names) > 1 else (names[0], "")


def _drawing(
    found: Mapping[str, tuple[tuple[str, str], pd.DataFrame]],
    stopped: pd.DataFrame,
    run: ReportedRun,
    score: tuple[str, str],
) -> go.Figure:
    column, title = score
    selected = run.selected
    figure, places = panels(list(found), 270)
    every = pd.concat([points[column] for _, points in found.values()])
    lowest = min(float(every.quantile(_DARKEST)), -0.01)
    for (algorithm, ((x, y), points)), place in zip(found.items(), places, strict=True):
        points, best = _fewer(points, selected)
        lost = stopped[stopped["algorithm"] == algorithm].tail(MOST_POINTS)
        if y:
            figure.add_scatter(
                x=_values(lost, x),
                y=_values(lost, y),
                mode="markers",
                marker={"symbol": "x-thin", "size": 6, "line": {"color": MUTED, "width": 1.2}},
                text=[_told(row, x, y) for row in lost.to_dict("records")],
                hovertemplate="%{text}<extra></extra>",
                **place,
            )
        for rows, symbol in ((points, "circle"), (best, STAR)):
            height = (rows[column] - lowest).clip(lower=0) / -lowest
            figure.add_scatter(
                x=_values(rows, x),
                y=_values(rows, y) if y else (100 * rows[column]).round(3).tolist(),
                mode="markers",
                marker={
                    "symbol": symbol,
                    "size": [round(6 + 6 * v + 5 * (symbol == STAR), 1) for v in height],
                    "color": (100 * rows[column]).round(3).tolist(),
                    "coloraxis": "coloraxis",
                    "opacity": 0.9,
                    "line": {"color": INK, "width": 1 if symbol == STAR else 0.5},
                },
                text=[_told(row, x, y) for row in rows.to_dict("records")],
                hovertemplate="%{text}<extra></extra>",
                **place,
            )
        space = run.space(algorithm)
        figure.update_xaxes(title_text=label(x), **_scale(space, x), **place)
        y_title = label(y) if y else "points below best"
        figure.update_yaxes(title_text=y_title, **_scale(space, y), **place)
    figure.update_layout(
        showlegend=False,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        coloraxis=_colours(lowest, title),
    )
    return figure


def _colours(lowest: float, title: str) -> dict[str, object]:
    """The axis of colours, from this score to that of a study's best trial."""
    return {
        "colorscale": SCALE,
        "cmin": round(100 * lowest, 3),
        "cmax": 0,
        "colorbar": {
            "title": {"text": f"{title}:<br>points below<br>the study's best"},
            "outlinewidth": 0,
            "thickness": 14,
        },
    }


def _fewer(points: pd.DataFrame, selected: set[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials that were not selected, and those that were; both thinned out if they are many."""
    chosen = points["trial"].isin(selected)
    others, best = (
        rows.iloc[:: -(-len(rows) // MOST_POINTS) or 1]
        for rows in (points[~chosen], points[chosen])
    )
    return others, best


def _values(rows: pd.DataFrame, name: str) -> list[object]:
    """The values of a hyperparameter with few digits: there are many of them on the page."""
    known = (None if pd.isna(value) else value for value in rows.get(f"hp_{name}", []))
    return [float(f"{v:.{DIGITS}g}") if isinstance(v, float) else v for v in known]


def _scale(space: Mapping[str, Range], name: str) -> dict[str, object]:
    range_ = space.get(name)
    if isinstance(range_, Interval) and range_.log:
        return log_axis(range_.low, range_.high)
    return {}


def _told(row: Mapping[Any, Any], x: str, y: str) -> str:
    names: Sequence[str] = [name for name in (x, y) if name]
    values = ", ".join(f"{name} {cell_text(row[f'hp_{name}'])}" for name in names)
    lines = [f"{row['held_out']} held out, seed {row['seed']}, trial {row['number']}", values]
    if "validation" in row:
        lines.append(f"validation {_percent(row['validation'])}")
        lines.append(f"held-out accuracy {_percent(row['accuracy'])}")
    else:
        lines.append(f"{row['state']} at step {row['steps']}")
    return "<br>".join(map(label, lines))


def _percent(value: Any) -> str:
    return "not measured" if pd.isna(value) else f"{100 * float(value):.1f} %"
