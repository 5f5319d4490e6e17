"""Whether algorithms differ, as a document: paired differences and mean ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from search.errors import UserError
from search.results import mean_ranks, paired
from search.results.document import Document, Grid, texts
from search.results.mean_ranks import Ranks
from search.results.paired import TooLittle
from search.results.summary_notes import about_methods


def document(
    selection: pd.DataFrame, against: str | None, method: str, notes: Sequence[str] = ()
) -> Document:
    """Every algorithm against one (the first, if it is not named), and the ranks of all.

    `selection`: the rows of that selection method. `notes` stand below the last table; where there
    is too little for one of the two, another says so. Raises UserError for an unknown algorithm,
    and if there is too little for both.
    """
    algorithms = [str(name) for name in paired.accuracies(selection)]
    other = algorithms[0] if against is None else against
    if algorithms == [other]:
        raise UserError(f"{other} is the only algorithm here; a comparison takes two")
    grids: list[Grid] = []
    frames = {}
    refused = []
    try:
        pairs = paired.compare(selection, [name for name in algorithms if name != other], other)
        frames["pairs"] = pairs
        grids += [
            _pairs(f"{dataset}, {model}, {method} selection: difference to {other}", group)
            for (dataset, model), group in pairs.groupby(["dataset", "model"], sort=False)
        ]
    except TooLittle as error:
        refused.append(str(error))
    try:
        ranks = mean_ranks.ranks(selection)
        frames["ranks"] = ranks.frame()
        grids.append(_ranks(f"Mean ranks, {method} selection", ranks))
    except TooLittle as error:
        refused.append(str(error))
    if not grids:
        raise UserError("; ".join(refused))
    below = (*grids[-1].notes, *refused, *about_methods([method]), *notes)
    grids[-1] = replace(grids[-1], notes=below)
    return Document(tuple(grids), frames)


def _pairs(title: str, rows: pd.DataFrame) -> Grid:
    header = ("", "difference", "95 % interval", "better", "worse", "equal", "pairs")
    lines = [
        (
            row["a"],
            _points(row["difference"]),
            "too few pairs" if pd.isna(row["low"]) else _interval(row["low"], row["high"]),
            *(row["wins"], row["losses"], row["equal"]),
            row["pairs"] if row["pairs"] == row["asked"] else f"{row['pairs']} of {row['asked']}",
        )
        for row in rows.to_dict("records")
    ]
    note = "percentage points over pairs of held-out domain and seed; percentile bootstrap"
    return Grid(title, header, tuple(map(texts, lines)), notes=(note,))


def _points(fraction: float) -> str:
    return "" if pd.isna(fraction) else f"{100 * fraction:+.1f}"


def _interval(low: float, high: float) -> str:
    return f"{_points(low)} .. {_points(high)}"


def _ranks(title: str, found: Ranks) -> Grid:
    best = found.ranks.iloc[0]
    lines = [
        (name, f"{rank:.2f}", "" if rank - best < found.critical_difference else "yes")
        for name, rank in found.ranks.items()
    ]
    missing = found.asked - found.blocks
    notes = [
        f"over {found.blocks} pairs of held-out domain and seed; Friedman test that all are alike: "
        f"p = {found.p:.2g}; critical difference (Nemenyi, 5 %): {found.critical_difference:.2f}",
        *([f"pairs left out, as some algorithm has no result there: {missing}"] * (missing > 0)),
    ]
    header = ("", "mean rank", "worse than the first")
    return Grid(title, header, tuple(map(texts, lines)), notes=tuple(notes))
