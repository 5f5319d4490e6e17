"""What can be printed: tables of text for people, frames for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

Mark = Literal["best", "second"]


@dataclass(frozen=True)
class Text:
    """What stands in a cell; a number and its error are joined by ` ± `."""

    text: str
    mark: Mark | None = None


@dataclass(frozen=True)
class Grid:
    """A table of text.

    `apart` are rows of another origin, set off from the others. The first `left` columns
    are aligned to the left. `notes`: lines below.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    apart: tuple[tuple[Text, ...], ...] = ()
    notes: tuple[str, ...] = ()
    left: int = 1


@dataclass(frozen=True)
class Document:
    """Tables, and the same as frames: the first alone is written as CSV, all as JSON."""

    grids: tuple[Grid, ...]
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)


def texts(row: Iterable[object]) -> tuple[Text, ...]:
    """A row of values; None and NaN are empty."""
    return tuple(Text(_text(value)) for value in row)


def _text(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
