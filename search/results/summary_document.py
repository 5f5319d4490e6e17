"""A summary as a document: accuracies in percent, the best of a column marked, and the winners."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from search.results import held_out_sets
from search.results.formats import Document, Grid, Mark, Text, cell_text, texts
from search.results.summaries import ResultTable, Summary

MOST_WINNERS = 64  # more are not printed below a table
_PERCENT = ("validation", "accuracy")


COSTS = ("passes", "networks at test", "barrier")  # beside networks that are combined


def document(summary: Summary, winners: bool = True) -> Document:
    """Tables and, if wanted, winners.

    The frames are `results`, a row per cell, `winners` and, with sets of held-out domains,
    `domains`.
    """
    grids = shown_tables(summary)
    chosen = len(summary.winners)
    if winners and 0 < chosen <= MOST_WINNERS:
        grids.append(_winners(summary.winners))
    elif winners and chosen:
        note = f"the {chosen} chosen settings are in selection.parquet, and in --format json"
        grids[-1] = replace(grids[-1], notes=(*grids[-1].notes, note))
    frames = {"results": summary.frame(), "winners": summary.winners}
    if not summary.domains.empty:
        frames["domains"] = summary.domains
    return Document(tuple(grids), frames)


def shown_tables(summary: Summary) -> list[Grid]:
    """The tables, and below them those of the domains of sets that are held out together."""
    sets = [] if summary.domains.empty else held_out_sets.grids(summary.domains)
    return [*map(_grid, summary.tables), *sets]


def marks(table: ResultTable) -> dict[tuple[str, int], Mark]:
    """(algorithm, column number) of the best and second best numbers of each column.

    Only complete cells of the run compete, equal printed numbers share a mark, and a column with
    one number has none.
    """
    found: dict[tuple[str, int], Mark] = {}
    for column in range(len(table.columns)):
        printed = {
            algorithm: float(f"{100 * (cells[column].mean or 0.0):.1f}")
            for algorithm, cells in table.rows.items()
            if cells[column].complete
        }
        if len(printed) < 2:
            continue
        ranked = sorted(set(printed.values()), reverse=True)
        names: tuple[Mark, Mark] = ("best", "second")
        for algorithm, number in printed.items():
            for value, name in zip(ranked, names, strict=False):
                if number == value:
                    found[algorithm, column] = name
    return found


def _grid(table: ResultTable) -> Grid:
    marked = marks(table)
    rows = tuple(
        (
            Text(algorithm),
            *(
                Text(cell.text(" ± "), marked.get((algorithm, column)))
                for column, cell in enumerate(cells)
            ),
        )
        for algorithm, cells in table.rows.items()
    )
    published = tuple(
        (Text(name), *(Text(cell.text(" ± ")) for cell in cells))
        for name, cells in table.published.items()
    )
    header = ("", *(column.name for column in table.columns))
    if table.beside:
        header += COSTS
        rows = tuple(
            (*row, *map(Text, beside))
            for row, beside in zip(rows, table.beside.values(), strict=True)
        )
    return Grid(table.title, header, rows, published, table.notes)


def _winners(winners: pd.DataFrame) -> Grid:
    """A row per winner; what is the same for all of them stands once, in the title."""
    same = [name for name in winners if len(winners) > 1 and winners[name].nunique(False) == 1]
    told = ", ".join(
        f"{name} {_value(str(name), winners[name].iloc[0])}".removeprefix("method ")
        for name in same
        if name not in ("dataset", "model") and not pd.isna(winners[name].iloc[0])
    )
    table = winners.drop(columns=same)
    header = tuple("trial" if name == "number" else str(name) for name in table)
    values = table.astype(object).where(table.notna(), None).to_dict("records")
    rows = tuple(texts(_value(str(name), value) for name, value in row.items()) for row in values)
    return Grid(f"Winners ({told})" if told else "Winners", header, rows, left=len(header))


def _value(name: str, value: object) -> str:
    if name in _PERCENT and value is not None:
        return f"{100 * float(str(value)):.1f}"
    return cell_text(value)
