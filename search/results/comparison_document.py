"""The document of a comparison of algorithms: paired differences and mean ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from search.errors import SteppeError
from search.results import comparison
from search.results.comparison import Ranks, TooLittle
from search.results.formats import Document, Grid, texts
from search.results.intervals import FEWEST, HERE, LIKE
from search.results.notes import about_methods
from search.results.selection import PER_DATASET


def document(
    selection: pd.DataFrame, against: str | None, method: str, notes: Sequence[str] = ()
) -> Document:
    """Every algorithm against one, the best against every other, and the ranks of all.

    selection: by that method. against: an algorithm; None: the first. notes: stand below the last
    table, as do comparisons for which there are too few results.

    Raises SteppeError for an unknown algorithm, and if no two algorithms have results in common.
    """
    algorithms = [str(name) for name in comparison.accuracies(selection)]
    other = algorithms[0] if against is None else against
    if algorithms == [other]:
        raise SteppeError(f"{other} is the only algorithm here; a comparison takes two")
    pairs = comparison.compare(selection, [name for name in algorithms if name != other], other)
    frames = {"pairs": pairs}
    grids = differences(pairs, method)
    refused = []
    if len(algorithms) > 2:  # of two it would be the same comparison again
        frames["best"] = comparison.compare_best(selection)
        grids |= differences(frames["best"], method, ", the highest here,")
        if len(grids) < 2 * pairs[["dataset", "model"]].drop_duplicates().shape[0]:
            refused.append("no algorithm is compared as the highest where none has all results")
    try:
        ranks = comparison.ranks(selection)
        frames["ranks"] = pd.concat([found.frame() for found in ranks], ignore_index=True)
        grids |= {(f.dataset, f.model, "ranks"): _ranks(f, method, algorithms) for f in ranks}
    except TooLittle as error:
        refused.append(str(error))
    if method.endswith(PER_DATASET):
        refused.append(
            "all held-out domains and seeds share a setting; the intervals do not include the luck "
            "of its choice"
        )
    order = list(dict.fromkeys(key[:2] for key in grids))
    ordered = [grids[key] for key in sorted(grids, key=lambda key: order.index(key[:2]))]
    below = (*ordered[-1].notes, *refused, *about_methods([method]), *notes)
    return Document((*ordered[:-1], replace(ordered[-1], notes=below)), frames)


def differences(
    pairs: pd.DataFrame, method: str, called: str = ""
) -> dict[tuple[str, str, str], Grid]:
    """A table for each dataset and model. called: what title the algorithm in all pairs has."""
    grids: dict[tuple[str, str, str], Grid] = {}
    if pairs.empty:
        return grids
    for key, rows in pairs.groupby(["dataset", "model"], sort=False):
        dataset, model = map(str, key)
        one, others = ("a", "b") if called else ("b", "a")
        name = rows[one].iloc[0]
        which = f"difference of {name}{called} to" if called else f"difference to {name}"
        title = f"{dataset}, {model}, {method} selection: {which}"
        header = (
            *("", "difference", HERE, LIKE),
            *("wins", "losses", "equal", "pairs", "domains"),
        )
        lines = [
            (
                row[others],
                _points(row["difference"]),
                *(interval(row, question) for question in ("here", "like")),
                *(row["wins"], row["losses"], row["equal"]),
                *(_count(row), row["domains"]),
            )
            for row in rows.to_dict("records")
        ]
        notes = (_intervals(rows, "datasets" if dataset == comparison.ALL else "domains"),)
        grids[dataset, model, called] = Grid(title, header, tuple(map(texts, lines)), notes=notes)
    return grids


def interval(row: Mapping[Any, Any], question: str) -> str:
    """The interval of a difference in percentage points, or why it has none.

    question: `here` or `like`.
    """
    why = row[f"{question}_why"]
    if isinstance(why, str):
        return why
    return f"{_points(row[f'{question}_low'])} .. {_points(row[f'{question}_high'])}"


def _intervals(rows: pd.DataFrame, sample: str) -> str:
    """A note: what the intervals of a table are over, and how they are corrected."""
    count = rows["comparisons"].iloc[0]
    picked = ", all pairs, as the same numbers picked the highest" * bool(count > len(rows))
    together = (
        "hold in 95 % of cases"
        if count == 1
        else f"hold for a whole column in 95 % of cases (Šidák, {count} comparisons{picked})"
    )
    return (
        f"percentage points; intervals {HERE} are over seeds, those {LIKE} over {sample}; "
        f"they {together}"
    )


def _points(fraction: float) -> str:
    return "" if pd.isna(fraction) else f"{100 * fraction:+.1f}"


def _count(row: Mapping[Any, Any]) -> str:
    pairs, asked = row["pairs"], row["asked"]
    return str(pairs) if pairs == asked else f"{pairs} of {asked}"


def _ranks(found: Ranks, method: str, algorithms: Sequence[str]) -> Grid:
    best = found.ranks.iloc[0]
    enough = not pd.isna(found.p)
    lines = [
        (name, f"{rank:.2f}", "yes" if enough and rank - best >= found.critical_difference else "")
        for name, rank in found.ranks.items()
    ]
    tested = (
        f"Friedman test (by permutation) that all are alike: p = {found.p:.2g}; critical "
        f"difference (Nemenyi, 5 %): {found.critical_difference:.2f}"
        if enough
        else f"too few {found.of} for a test, which needs at least {FEWEST}"
        if found.blocks < FEWEST
        else f"no test, as {comparison.SHARED}"
    )
    notes = [f"over the means of {found.blocks} {found.of}; {tested}"]
    missing = found.asked - found.blocks
    if missing:
        notes.append(f"{found.of} left out, as some algorithm has no result there: {missing}")
    without = [name for name in algorithms if name not in found.ranks]
    if without:
        notes.append(f"left out, without any result: {', '.join(without)}")
    header = ("", "mean rank", *["worse than the first"] * enough)
    rows = tuple(texts(line[: len(header)]) for line in lines)
    title = f"{found.dataset}, {found.model}, {method} selection: mean ranks"
    return Grid(title, header, rows, notes=tuple(notes))
