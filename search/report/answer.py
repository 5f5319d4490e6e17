"""The answer of a run: which method is best, by how much, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from search.report.reported_run import FIRST, searched
from search.results import comparison
from search.results.formats import cell_text
from search.results.intervals import HERE, LIKE
from search.results.summaries import AVERAGE, Cell, ResultTable


@dataclass(frozen=True)
class Answer:
    """Sentences about one table of results: the first is the answer, the others weigh it."""

    table: str
    best: str | None
    number: str
    sentences: tuple[str, ...]


def ranked(tables: Sequence[ResultTable], algorithms: Sequence[str]) -> list[str]:
    """All algorithms, those with the highest mean of the tables' last columns first."""

    def height(algorithm: str) -> float:
        cells = [table.rows[algorithm] for table in tables if algorithm in table.rows]
        # Where the average is not complete, what there is of it.
        means = [c.mean for row in cells for c in (row[-1:] if row[-1].mean else row) if c.mean]
        return -sum(means) / len(means) if means else 1.0

    return sorted(algorithms, key=height)


def answer(table: ResultTable, selection: pd.DataFrame) -> Answer:
    """The answer of a table. selection: the rows of its method, with their `hp_` columns."""
    last = {algorithm: cells[-1] for algorithm, cells in table.rows.items()}
    complete = {algorithm: cell for algorithm, cell in last.items() if cell.complete}
    order = sorted(complete, key=lambda algorithm: -(complete[algorithm].mean or 0.0))
    column = table.columns[-1]
    overall = column.dataset == AVERAGE
    title = "All datasets" if overall else column.dataset
    if not order:
        return Answer(title, None, "", ("No algorithm has a result in all of its studies yet.",))
    best = order[0]
    rows = selection[(selection["model"] == table.model) & selection["accuracy"].notna()]
    rows = rows if overall else rows[rows["dataset"] == column.dataset]
    rivals = [*order[1:2], *(["ERM"] if "ERM" in order[2:] else [])]
    sentences = [
        _margin(difference, complete[difference["b"]])
        for difference in _differences(rows, best, comparison.ALL if overall else column.dataset)
        if difference["b"] in rivals
    ]
    missing = [algorithm for algorithm in last if algorithm not in complete]
    if missing:
        sentences.append(f"Not compared, as results are missing: {', '.join(missing)}.")
    if not overall:
        winners = rows[rows["algorithm"] == best]
        told = [f"{name} {values}" for name, values in spread(winners, FIRST).items()]
        if told:
            studies = "its only study" if len(winners) == 1 else f"its {len(winners)} studies"
            sentences.append(f"Selected in {studies}: {', '.join(told)}.")
    if overall:
        where = f"held-out accuracy, mean of {len(table.columns) - 1} datasets"
    elif column.held_out == AVERAGE:
        of_sets = "domains and sets of domains" if column.sets else "domains"
        where = f"held-out accuracy, mean of {column.domains} {of_sets}"
    elif column.sets:
        where = f"mean accuracy on the held-out domains {column.held_out}"
    else:
        where = f"accuracy on the held-out domain {column.held_out}"
    return Answer(title, best, f"{complete[best].text(' ± ')} % {where}", tuple(sentences))


def spread(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, str]:
    """Median and range of the selected values of each hyperparameter, as text."""
    found = {}
    for name in names:
        values = rows.get(f"hp_{name}", pd.Series(dtype=float)).dropna()
        if values.empty:
            continue
        if not pd.api.types.is_numeric_dtype(values):
            found[name] = ", ".join(map(str, dict.fromkeys(values)))
            continue
        median = cell_text(float(values.median()))
        low, high = cell_text(float(values.min())), cell_text(float(values.max()))
        found[name] = median if low == high else f"{median} ({low} to {high})"
    return found


def settings(chosen: pd.DataFrame, trials: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the selected values of the searched hyperparameters, by algorithm.

    The first hyperparameters have columns; the others, which most algorithms lack, share the last.
    """
    names = [name for name in searched(trials) if f"hp_{name}" in chosen]
    first = [name for name in FIRST if name in names]
    others = [name for name in names if name not in first]
    several = chosen["dataset"].nunique() > 1
    rows = []
    keys = ["dataset", "algorithm"]
    for (dataset, algorithm), group in chosen.groupby(keys, sort=False):
        told = spread(group, first)
        more = ", ".join(f"{name} {values}" for name, values in spread(group, others).items())
        where = [str(dataset)] * several
        cells = [told.get(name, "") for name in first]
        rows.append([str(algorithm), *where, str(len(group)), *cells, *[more] * bool(others)])
    header = ["algorithm", *["dataset"] * several, "studies", *first]
    return [*header, *["others"] * bool(others)], rows


def _differences(rows: pd.DataFrame, best: str, dataset: str) -> list[dict[Any, Any]]:
    """The best against each other algorithm, the nearest first."""
    found = comparison.compare_best(rows, best)
    if found.empty:
        return []
    own = found[found["dataset"] == dataset].sort_values("difference", kind="stable")
    return own.to_dict("records")


def _margin(difference: Mapping[Any, Any], rival: Cell) -> str:
    """By how much the best is above another, and whether that may be chance."""
    points = f"{100 * difference['difference']:.1f} points above {difference['b']}"
    asked = (_chance(difference, name, where) for name, where in (("here", HERE), ("like", LIKE)))
    return f"{points} ({rival.text(' ± ')} %). {'. '.join(asked)}."


def _chance(difference: Mapping[Any, Any], name: str, where: str) -> str:
    """The answer to one of the questions; `name` as in the columns of the difference."""
    where = where[0].upper() + where[1:]
    why = difference[f"{name}_why"]
    if isinstance(why, str):
        return f"{where} nothing says whether it is chance ({why})"
    low, high = (_signed(difference[f"{name}_{end}"]) for end in ("low", "high"))
    more = "it may be chance" if difference[f"{name}_low"] <= 0 else "it is more than chance"
    return f"{where} {more}: {low} to {high}"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "−")
