"""Numbers that papers report, shown beside a run's own: published_tables.yaml."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from search import yaml_file
from search.results.selection import rule_of
from search.results.summaries import AVERAGE, Cell, Column, ResultTable

FILE = Path(__file__).with_name("published_tables.yaml")

_EMPTY = Cell(None, None, 0)


@cache
def content() -> dict[str, Any]:
    """The file: domains, model, selection, sources, and a row per algorithm, source and model."""
    return yaml_file.read(FILE)


def beside(table: ResultTable) -> ResultTable:
    """The table with the published rows that have a number for one of its columns.

    They are those of the table's model; for a model of which there are none, those of a ResNet-50.
    They are named `SAGM (published, Wang 2023)`; notes name their sources and how they differ. No
    number is computed: a cell that the source does not have stays empty.
    """
    data = content()
    rows, sources = {}, dict[str, str]()
    models = {row.get("model", data["model"]) for row in data["rows"]}
    model = table.model if table.model in models else data["model"]
    for row in data["rows"]:
        if row.get("model", data["model"]) != model:
            continue
        cells = tuple(_cell(row, column, table) for column in table.columns)
        if any(cell.mean is not None for cell in cells):
            rows[f"{row['algorithm']} (published, {row['source']})"] = cells
            source = data["sources"][row["source"]]
            sources[row["source"]] = f"{source['paper']}; {source['place']}"
    if not rows:
        why = (
            f"there are no published numbers for this table; those known are averages over "
            f"all held-out domains of {', '.join(data['domains'])} by {data['selection']} selection"
        )
        return replace(table, notes=(*table.notes, why))
    notes = [
        f"published numbers are as their papers have them, of {model}, by "
        f"{data['selection']} selection, over all held-out domains; they take no part in the marks",
        *_held_out_otherwise(table),
        *(f"{name}: {source}" for name, source in sources.items()),
    ]
    return replace(table, published=rows, notes=(*table.notes, *notes))


def _cell(row: dict[str, Any], column: Column, table: ResultTable) -> Cell:
    data = content()
    if rule_of(column.method)[0] != data["selection"] or column.held_out != AVERAGE or column.sets:
        return _EMPTY
    datasets = {column.dataset for column in table.columns} - {AVERAGE}
    whole = column.dataset == AVERAGE and datasets == data["domains"].keys()
    number = row.get("average" if whole else column.dataset)
    return _EMPTY if number is None else Cell(number / 100, None, 0)


def _held_out_otherwise(table: ResultTable) -> list[str]:
    """Notes where the table's average is over fewer held-out domains than that of the papers."""
    return [
        f"the average on {column.dataset} is over {column.domains} held-out domains here, and over "
        f"{many} in the papers"
        for column in table.columns
        if column.held_out == AVERAGE
        and not column.sets
        and (many := content()["domains"].get(column.dataset, column.domains)) != column.domains
    ]
