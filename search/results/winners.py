"""Where the winners of a table lie: in first trials, or at the edges of what was searched."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from search.results.summaries import ResultTable
from search.space.ranges import Interval, Range, Value
from search.study.study_space import given_ranges
from search.sweep.schema import Sweep

EDGE = 0.05  # of a range's width, half of it at either end


def about_winners(
    table: ResultTable, selection: pd.DataFrame, sweeps: Mapping[str, Sweep]
) -> list[str]:
    """Notes below a table: how many winners were first trials, and how many lie at an edge.

    A first trial has its algorithm's published or default setting. selection: the rows that the
    table was made from are among them. sweeps: by name, with all ranges written out. A weight decay
    at the low end of a logarithmic range stands for 0 and is at no edge. Under seed_reduction later
    seeds begin with the best setting of the seed before, and do not count as first trials. Under
    objective_over the winner of all seeds counts once.
    """
    won = _of_table(table, selection)
    first, began, of = Counter[str](), Counter[str](), Counter[str]()
    edges = Counter[tuple[str, str]]()
    for row in won.to_dict("records"):
        algorithm = str(row["algorithm"])
        sweep = sweeps[row["sweep"]]
        later = row["seed"] != sweep.seeds[0]
        if later and sweep.search.objective_over == "seeds":
            continue
        of[algorithm] += 1
        if not any(str(key).startswith("hp_") and not pd.isna(row[key]) for key in row):
            continue  # zero-shot, which chooses nothing
        if not (later and sweep.search.seed_reduction):
            began[algorithm] += 1
            first[algorithm] += row["number"] == 0
        for name, range_ in given_ranges(sweep, algorithm).items():
            value = row.get(f"hp_{name}")
            if value is not None and not pd.isna(value) and _at_edge(name, range_, value):
                edges[algorithm, name] += 1
    counts = [f"{name} {count} of {began[name]}" for name, count in first.items() if count]
    ends = [f"{of_} {name} {count} of {of[of_]}" for (of_, name), count in edges.items()]
    notes = []
    if counts:
        notes.append(
            "winners that were the first trial, with the published or default setting: "
            + ", ".join(counts)
        )
    if ends:
        chance = f"where chance puts one in {round(1 / EDGE)}"
        notes.append(f"winners in the outer {EDGE:.0%} of a range, {chance}: {', '.join(ends)}")
    return notes


def _of_table(table: ResultTable, selection: pd.DataFrame) -> pd.DataFrame:
    """The winners of a table by one method; none for a table of several."""
    methods = {column.method for column in table.columns}
    datasets = {column.dataset for column in table.columns}
    return selection[
        selection["trial"].notna()
        & (selection["model"] == table.model)
        & selection["dataset"].isin(datasets)
        & (selection["method"].isin(methods) & (len(methods) == 1))
    ]


def _at_edge(name: str, range_: Range, value: Value) -> bool:
    if not isinstance(range_, Interval) or (name == "weight_decay" and value == range_.low):
        return False
    if not range_.low <= float(value) <= range_.high:
        return True
    scale = math.log if range_.log else float
    low, high = scale(range_.low), scale(range_.high)
    return abs((scale(float(value)) - low) / (high - low) - 0.5) > 0.5 - EDGE / 2
