"""What the figures of a report share: how the page gets them, the style of each algorithm, marks.

Colours are names of the style sheet (`var(--ink)`); the page puts in those of light or dark.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.screen import printable

INK, MUTED, GRID, PAPER = "var(--ink)", "var(--muted)", "var(--grid)", "var(--paper)"
# After cividis, which is readable in print and for the colour-blind; the best stands out most from
# the page, light or dark.
SCALE = [[i / 4, f"var(--scale-{i})"] for i in range(5)]
STAR = "star"

COLOURS = 8  # var(--series-0) and on
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon")
_MARGIN_PX = 90


@dataclass(frozen=True)
class Figure:
    """A figure: one drawing, or several under names to choose from.

    text: what is shown and how to read it. left_out: what is not drawn, to keep the page small.
    """

    id: str
    title: str
    text: str
    drawings: Mapping[str, go.Figure]
    left_out: str = ""

    @property
    def content(self) -> list[dict[str, Any]]:
        """What plotly.js draws: data and layout of each drawing."""
        return [json.loads(drawing.to_json()) for drawing in self.drawings.values()]


@dataclass(frozen=True)
class Style:
    """How an algorithm is drawn, the same in all figures: never by its colour alone."""

    colour: str
    dash: str
    symbol: str

    def line(self, width: float, **more: object) -> dict[str, Any]:
        """A line of plotly's in this style."""
        return {"color": self.colour, "dash": self.dash, "width": width, **more}

    def marker(self, size: int, star: bool = False) -> dict[str, Any]:
        """A marker of plotly's in this style; a star for a selected trial."""
        symbol = STAR if star else self.symbol
        edge = {"color": INK, "width": 1 if star else 0}
        return {"color": self.colour, "symbol": symbol, "size": size, "line": edge}


class Legend:
    """Names each algorithm once in the legend of a figure, however many traces it has."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def of(self, algorithm: str, shown: bool = True) -> dict[str, Any]:
        """The legend of a trace, which is listed if it is the algorithm's first with `shown`."""
        first = shown and algorithm not in self._named
        self._named |= {algorithm} if first else set()
        return {"name": label(algorithm), "legendgroup": algorithm, "showlegend": first}


def styles_of(algorithms: Sequence[str]) -> dict[str, Style]:
    """A style for each algorithm; the first 32 differ."""
    return {
        name: Style(
            f"var(--series-{i % COLOURS})",
            _DASHES[(i + i // COLOURS) % len(_DASHES)],
            _SYMBOLS[i % len(_SYMBOLS)],
        )
        for i, name in enumerate(algorithms)
    }


def label(text: object) -> str:
    """A name as plotly.js is to show it.

    It would take `<b>` in the name for a tag, and the page would take `var(--x)` for a colour.
    """
    return html.escape(printable(str(text)), quote=False).replace("var(", "var&#40;")


def by_dataset(
    rows: pd.DataFrame, draw: Callable[[pd.DataFrame], go.Figure]
) -> dict[str, go.Figure]:
    """A drawing of the rows of each dataset."""
    groups = rows.groupby("dataset", sort=False)
    return {label(dataset): draw(own) for dataset, own in groups}


def trial_labels(algorithm: str, trials: pd.DataFrame) -> list[str]:
    """What a reader sees of each trial at its point."""
    return [
        label(f"{algorithm}, seed {seed}, trial {number}")
        for seed, number in zip(trials["seed"], trials["number"], strict=True)
    ]


Place = dict[str, int]  # row and column of a panel, as plotly counts them


def panels(
    titles: Sequence[str], height: int, columns: int = 3, **options: Any
) -> tuple[go.Figure, list[Place]]:
    """An empty figure of panels, row by row, and their places; `height` of each in pixels."""
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    total = rows * height
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[label(title) for title in titles],
        vertical_spacing=min(100 / total, 1 / max(rows - 1, 1)),
        horizontal_spacing=0.11 if columns > 1 else 0,
        **options,
    )
    places = [{"row": i // columns + 1, "col": i % columns + 1} for i in range(len(titles))]
    return apply_theme(figure, total + _MARGIN_PX), places


def apply_theme(figure: go.Figure, height: int) -> go.Figure:
    """Applies the theme of the page to a drawing."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 13, "family": "system-ui, sans-serif"},
        hoverlabel={"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": INK},
        legend={"itemclick": "toggle", "itemdoubleclick": "toggleothers"},
    )
    lines = {"gridcolor": GRID, "linecolor": MUTED, "zerolinecolor": GRID, "tickcolor": MUTED}
    figure.update_xaxes(**lines, ticks="outside", automargin=True, title_standoff=4)
    figure.update_yaxes(**lines, automargin=True, title_standoff=4)
    figure.update_annotations(font={"color": INK, "size": 13})
    return figure


def log_axis(low: float, high: float) -> dict[str, Any]:
    """How plotly draws a logarithmic axis: ticks at 1, 2 and 5 while they have the room."""
    form = "~e" if low < 1e-3 or high >= 1e5 else "~g"
    return {"type": "log", "dtick": 1 if high > 50 * low else "D2", "tickformat": form}
