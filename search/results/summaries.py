"""From the winners to the field's tables.

Algorithms stand down; held-out domains, datasets or selection methods across.

A cell is the mean over seeds of the winner's accuracy on the held-out domain's in split, with its
standard error: population std / sqrt(seeds). The error of an average is taken over the average
of each seed. So DomainBed's scripts/collect_results.py prints them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from search.results import held_out_sets
from search.results.held_out_sets import is_set
from search.results.notes import about_methods, about_studies
from search.results.selection import how_chosen

AVERAGE = "Average"
BY = ("held-out", "dataset", "method")


@dataclass(frozen=True)
class Cell:
    """One number of a table, a fraction, with its standard error.

    error: None with one seed. note: why the cell is empty, or what is missing ("2 of 3 seeds").
    """

    mean: float | None
    error: float | None
    seeds: int
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether the number is the mean over all seeds that the sweep asks for."""
        return self.mean is not None and not self.note

    def text(self, plus_minus: str = " +/- ") -> str:
        """The number in percent, as the field prints it, and the note."""
        if self.mean is None:
            return self.note
        number = f"{100 * self.mean:.1f}"
        if self.error is not None:
            number += f"{plus_minus}{100 * self.error:.1f}"
        return f"{number} ({self.note})" if self.note else number


@dataclass(frozen=True)
class Column:
    """What the accuracies of a column are of; `dataset` and `held_out` may be `Average`.

    domains: how many held-out domains an average is over. sets: whether some are sets of domains.
    """

    name: str
    dataset: str
    held_out: str
    method: str
    domains: int = 1
    sets: bool = False


@dataclass(frozen=True)
class ResultTable:
    """A table of one model, with a row for each algorithm.

    notes: a line each, what is missing and what to mind. published: rows of papers, by name; they
    are never marked as the best. beside: of networks that are combined, what each row costs
    (search.results.combined).
    """

    title: str
    model: str
    columns: tuple[Column, ...]
    rows: dict[str, tuple[Cell, ...]]
    notes: tuple[str, ...] = ()
    published: dict[str, tuple[Cell, ...]] = field(default_factory=dict)
    beside: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """The tables of a run, the winners behind them (see `winners`), and the domains of its sets."""

    tables: tuple[ResultTable, ...]
    winners: pd.DataFrame
    domains: pd.DataFrame = field(default_factory=pd.DataFrame)

    def frame(self) -> pd.DataFrame:
        """A row per cell; a cell that stands in several tables comes once.

        Columns: method, dataset, model, algorithm, held_out, accuracy, error (fractions), seeds,
        note, published (whether a paper reports it).
        """
        rows = [row for table in self.tables for row in _cells(table)]
        columns = ["method", "dataset", "model", "algorithm", "held_out"]
        values = ["accuracy", "error", "seeds", "note", "published"]
        found = pd.DataFrame(rows, columns=[*columns, *values])
        found = found.astype({"accuracy": "float64", "error": "float64", "seeds": "int64"})
        return found.drop_duplicates([*columns, "published"], ignore_index=True)


def summarize(
    selection: pd.DataFrame, by: str = "held-out", over_seeds: Collection[str] = ()
) -> Summary:
    """The result tables of a selection, in order of appearance.

    over_seeds: as of `select`, for the titles.
    by: what stands across:
    held-out  a table per (method, model, dataset); with several datasets, also that by dataset
    dataset   a table per (method, model) of the averages over held-out domains
    method    a table per (model, dataset) of the same averages
    """
    domain_tables: dict[tuple[str, str], list[ResultTable]] = {}
    for (method, model), group in selection.groupby(["method", "model"], sort=False):
        domain_tables[str(method), str(model)] = [
            domain_table(str(dataset), str(model), str(method), rows, over_seeds=over_seeds)
            for dataset, rows in group.groupby("dataset", sort=False)
        ]
    tables: list[ResultTable] = []
    if by == "method":
        models = dict.fromkeys(model for _, model in domain_tables)
        for model in models:
            of_model = [found for (_, other), found in domain_tables.items() if other == model]
            tables += map(_by_method, zip(*of_model, strict=True))
    else:
        for found in domain_tables.values():
            if by == "held-out":
                tables += found
            if by == "dataset" or len(found) > 1:
                tables.append(by_dataset(found, selection.get("sweep", ()), over_seeds))
    domains = held_out_sets.by_domain(selection) if by == "held-out" else pd.DataFrame()
    return Summary(tuple(tables), winners(selection), domains)


def winners(selection: pd.DataFrame) -> pd.DataFrame:
    """The hyperparameters behind a table: a row per study and method that has a winner.

    Columns: method, dataset, model, algorithm, held_out, seed, number, step, validation, accuracy,
    then the hyperparameters that any winner has, by name.
    """
    found = selection[selection["trial"].notna()]
    columns = [
        *("method", "dataset", "model", "algorithm", "held_out", "seed"),
        *("number", "step", "validation", "accuracy"),
    ]
    used = [name for name in found if str(name).startswith("hp_") and found[name].notna().any()]
    table = found[[*columns, *used]].rename(columns=lambda name: name.removeprefix("hp_"))
    return table.reset_index(drop=True)


def domain_table(
    dataset: str,
    model: str,
    method: str,
    rows: pd.DataFrame,
    notes: Sequence[str] | None = None,
    over_seeds: Collection[str] = (),
) -> ResultTable:
    """The table of a dataset: held-out domains across, and their average.

    notes: None: those on selected trials. over_seeds: as of `select`.
    """
    domains = list(dict.fromkeys(rows["held_out"]))
    seeds = list(dict.fromkeys(rows["seed"]))
    cells = {}
    for algorithm, group in rows.groupby("algorithm", sort=False):
        # [seeds, domains]; NaN where a study has no result, and the reason beside it
        accuracy = np.full((len(seeds), len(domains)), np.nan)
        reasons = {(seed, domain): "no trial has finished" for seed in seeds for domain in domains}
        own = group[["seed", "held_out", "accuracy", "reason"]]
        for seed, domain, value, reason in own.itertuples(index=False):
            accuracy[seeds.index(seed), domains.index(domain)] = value
            reasons[seed, domain] = reason if pd.isna(value) else ""
        row = [
            _cell(accuracy[:, column], [reasons[seed, domain] for seed in seeds])
            for column, domain in enumerate(domains)
        ]
        cells[str(algorithm)] = tuple(row + _average(accuracy, row))
    names = [f"{domain} (domain)" if domain == AVERAGE else str(domain) for domain in domains]
    columns = [Column(name, dataset, name, method, sets=is_set(name)) for name in names]
    sets = any(column.sets for column in columns)
    if len(domains) > 1:
        columns.append(Column(AVERAGE, dataset, AVERAGE, method, len(domains), sets))
    said = (*about_methods([method]), *about_studies(rows)) if notes is None else notes
    said = (*[held_out_sets.NOTE] * sets, *said)
    title = f"{dataset}, {model}, {how_chosen(method, rows.get('sweep', ()), over_seeds)}"
    return ResultTable(title, model, tuple(columns), cells, said)


def _cell(accuracies: np.ndarray, reasons: Sequence[str]) -> Cell:
    """A cell over seeds; NaN where a seed has no result."""
    present = accuracies[~np.isnan(accuracies)]
    if len(present) == 0:
        different = set(reasons)
        note = different.pop() if len(different) == 1 else f"0 of {len(reasons)} seeds"
        return Cell(None, None, 0, note)
    count = len(present)
    error = float(np.std(present) / np.sqrt(count)) if count > 1 else None
    note = "" if count == len(accuracies) else f"{count} of {len(accuracies)} seeds"
    return Cell(float(np.mean(present)), error, count, note)


def _average(accuracy: np.ndarray, row: Sequence[Cell]) -> list[Cell]:
    """The average over domains, from the seeds that have all of them; none for one domain."""
    if len(row) == 1:
        return []
    present = sum(cell.mean is not None for cell in row)
    if present < len(row):
        return [Cell(None, None, 0, f"{present} of {len(row)} domains")]
    return [_cell(accuracy.mean(axis=1), ["no seed has all domains"] * len(accuracy))]


def by_dataset(
    tables: Sequence[ResultTable], sweeps: Iterable[str] = (), over_seeds: Collection[str] = ()
) -> ResultTable:
    """The averages of the datasets; their own average only where all of them are complete."""
    columns = [replace(table.columns[-1], name=table.columns[-1].dataset) for table in tables]
    rows = {}
    for algorithm in _algorithms(tables):
        cells = _last_cells(tables, algorithm)
        if len(tables) > 1:
            complete = [cell.mean for cell in cells if cell.mean is not None and not cell.note]
            if len(complete) == len(cells):
                average = Cell(float(np.mean(complete)), None, min(cell.seeds for cell in cells))
            else:
                average = Cell(None, None, 0, f"{len(complete)} of {len(cells)} datasets")
            cells.append(average)
        rows[algorithm] = tuple(cells)
    method, model = columns[0].method, tables[0].model
    named = {column.dataset: table for column, table in zip(columns, tables, strict=True)}
    notes = (*about_methods([method]), *_named(named))
    if len(tables) > 1:
        columns.append(Column(AVERAGE, AVERAGE, AVERAGE, method, sets=any(c.sets for c in columns)))
    title = f"By dataset, {model}, {how_chosen(method, sweeps, over_seeds)}"
    return ResultTable(title, model, tuple(columns), rows, notes)


def _by_method(tables: Sequence[ResultTable]) -> ResultTable:
    """The averages of one dataset, by one selection method after the other."""
    lasts = [table.columns[-1] for table in tables]
    columns = [replace(last, name=last.method) for last in lasts]
    rows = {name: tuple(_last_cells(tables, name)) for name in _algorithms(tables)}
    first = columns[0]
    over = "average over held-out domains" if first.held_out == AVERAGE else first.held_out
    title = f"{first.dataset}, {tables[0].model}, by selection method, {over}"
    notes = (
        *about_methods([column.method for column in columns]),
        *_named({last.method: table for last, table in zip(lasts, tables, strict=True)}),
    )
    return ResultTable(title, tables[0].model, tuple(columns), rows, notes)


def _named(tables: Mapping[str, ResultTable]) -> list[str]:
    """The notes of several tables; one that is not below all of them names its tables."""
    names: dict[str, list[str]] = {}
    for name, table in tables.items():
        own = about_methods([table.columns[0].method])
        for note in table.notes:
            if note not in own:
                names.setdefault(note, []).append(name)
    return [
        note if len(of) == len(tables) else f"{', '.join(of)}: {note}" for note, of in names.items()
    ]


def _algorithms(tables: Sequence[ResultTable]) -> list[str]:
    return list(dict.fromkeys(algorithm for table in tables for algorithm in table.rows))


def _last_cells(tables: Sequence[ResultTable], algorithm: str) -> list[Cell]:
    missing = Cell(None, None, 0, "no trial has finished")
    return [table.rows[algorithm][-1] if algorithm in table.rows else missing for table in tables]


def _cells(table: ResultTable) -> Iterator[dict[str, Any]]:
    for published, rows in ((False, table.rows), (True, table.published)):
        for algorithm, cells in rows.items():
            for column, cell in zip(table.columns, cells, strict=True):
                if published and cell.mean is None:
                    continue
                yield {
                    "method": column.method,
                    "dataset": column.dataset,
                    "model": table.model,
                    "algorithm": algorithm,
                    "held_out": column.held_out,
                    "accuracy": cell.mean,
                    "error": cell.error,
                    "seeds": cell.seeds,
                    "note": cell.note,
                    "published": published,
                }
