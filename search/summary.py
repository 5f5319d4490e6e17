"""From the winners to the field's table: algorithms down, held-out domains across.

A cell is the mean over seeds of the winner's accuracy on the held-out domain's in split, with its
standard error: population std / sqrt(seeds). The error of an average is taken over the average
of each seed. So DomainBed's scripts/collect_results.py prints them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

AVERAGE = "Average"


@dataclass(frozen=True)
class Cell:
    """One number of a table, a fraction, with its error.

    `error` is None with one seed. `note` says why the cell is empty, or what is missing from it
    ("2 of 3 seeds").
    """

    mean: float | None
    error: float | None
    seeds: int
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether the number stands on all the seeds it should."""
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
class ResultTable:
    """Rows are algorithms; columns are held-out domains, or datasets where `dataset` is None.

    `notes` say in full, one line for each study, what is missing.
    """

    dataset: str | None
    model: str
    method: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Cell, ...]]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What the numbers are."""
        return f"{self.dataset or 'All datasets'}, {self.model}, {self.method} selection"


@dataclass(frozen=True)
class Summary:
    """The tables of a run, and the winners behind them (see `winners`)."""

    tables: tuple[ResultTable, ...]
    winners: pd.DataFrame


def summarize(selection: pd.DataFrame) -> Summary:
    """The result tables of a selection: one per (dataset, model, method), in order of appearance.

    With several datasets a table of their averages follows for each (model, method).
    """
    keys = ["method", "model", "dataset"]
    tables = []
    for (method, model), group in selection.groupby(keys[:2], sort=False):
        datasets = [
            _domain_table(str(dataset), str(model), str(method), rows)
            for dataset, rows in group.groupby("dataset", sort=False)
        ]
        tables += datasets
        if len(datasets) > 1:
            tables.append(_overview(datasets))
    return Summary(tuple(tables), winners(selection))


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


def _domain_table(dataset: str, model: str, method: str, rows: pd.DataFrame) -> ResultTable:
    domains = list(dict.fromkeys(rows["held_out"]))
    seeds = list(dict.fromkeys(rows["seed"]))
    cells = {}
    notes = []
    for algorithm, group in rows.groupby("algorithm", sort=False):
        # [seeds, domains]; NaN where a study has no result, and the reason beside it
        accuracy = np.full((len(seeds), len(domains)), np.nan)
        reasons = {(seed, domain): "no trial has finished" for seed in seeds for domain in domains}
        for seed, domain, value, reason in group[
            ["seed", "held_out", "accuracy", "reason"]
        ].itertuples(index=False):
            accuracy[seeds.index(seed), domains.index(domain)] = value
            reasons[seed, domain] = reason if pd.isna(value) else ""
        row = [
            _cell(accuracy[:, column], [reasons[seed, domain] for seed in seeds])
            for column, domain in enumerate(domains)
        ]
        cells[str(algorithm)] = tuple(row + _average(accuracy, row))
        notes += [
            f"{algorithm}, {domain}, seed {seed}: {reasons[seed, domain]}"
            for domain in domains
            for seed in seeds
            if reasons[seed, domain]
        ]
    columns = domains + [AVERAGE] * (len(domains) > 1)
    return ResultTable(dataset, model, method, tuple(columns), cells, tuple(notes))


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


def _overview(tables: Sequence[ResultTable]) -> ResultTable:
    """The averages of the datasets; their own average only where all of them are complete."""
    algorithms = dict.fromkeys(algorithm for table in tables for algorithm in table.rows)
    rows = {}
    for algorithm in algorithms:
        cells = [
            table.rows[algorithm][-1]
            if algorithm in table.rows
            else Cell(None, None, 0, "no trial has finished")
            for table in tables
        ]
        complete = [cell.mean for cell in cells if cell.mean is not None and not cell.note]
        if len(complete) == len(cells):
            average = Cell(float(np.mean(complete)), None, min(cell.seeds for cell in cells))
        else:
            average = Cell(None, None, 0, f"{len(complete)} of {len(cells)} datasets")
        rows[algorithm] = (*cells, average)
    columns = (*(str(table.dataset) for table in tables), AVERAGE)
    return ResultTable(None, tables[0].model, tables[0].method, columns, rows)
