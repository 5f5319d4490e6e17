"""The table `combinations`: what became of the kept networks of a study, put together.

Each combination has a file of its own, written whole, so a command that is killed loses the one
that it was at, and goes on from there when it is given again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from search.run.columns import SCHEMA_VERSION, STUDY_FIELDS, to_pandas
from search.run.run_folder import RunFolder
from search.run.table_files import damaged, read_file, to_parquet
from search.sweep.search_keys import COMBINATIONS as METHODS

COMBINATIONS = "combinations"

# Of a point of wise-ft's curve.
POINT = ("alpha", "validation", "accuracy", "accuracy_all")

_FIELDS = [
    *STUDY_FIELDS,
    pa.field("combination", pa.string(), nullable=False),  # its name
    pa.field("method", pa.string(), nullable=False),  # uniform, greedy, ensemble, wise-ft
    pa.field("across", pa.string()),  # algorithms, seeds; null: of one study
    pa.field("top", pa.int64()),  # how many of the best trials were candidates; null: all
    pa.field("candidates", pa.list_(pa.string()), nullable=False),  # trials, the best first
    pa.field("members", pa.list_(pa.string()), nullable=False),  # those that stayed, in order
    pa.field("validation", pa.float64()),  # mean over the source domains' out splits
    pa.field("pooled", pa.float64()),  # over all their samples: what accepts a member
    pa.field("accuracy", pa.float64()),
    pa.field("accuracy_all", pa.float64()),
    pa.field("accuracies", pa.list_(pa.float64())),  # of each domain of a set; null of one domain
    pa.field("barrier", pa.float64()),  # largest one of the best candidate and another
    pa.field("passes", pa.float64()),  # training of all candidates
    pa.field("networks", pa.int64()),  # that predict at test
    pa.field("alpha", pa.float64()),  # of wise-ft: the share of the trained weights, as validated
    pa.field("curve", pa.list_(pa.struct([pa.field(n, pa.float64()) for n in POINT]))),
    pa.field("reason", pa.string()),  # why there is none
]
SCHEMA = pa.schema(_FIELDS, metadata={"schema_version": str(SCHEMA_VERSION)})

_MADE = ("members", "accuracy", "passes", "networks")  # of each that could be made


def write_combination(folder: RunFolder, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes or replaces the rows of one combination: one, or one for each seed."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    folder.write_bytes(_file(str(rows[0]["combination"])), to_parquet(table))


def read_combination(folder: RunFolder, name: str) -> pd.DataFrame:
    """The rows of one combination; none if there is no file of it."""
    return _read(folder, [name] if folder.exists(_file(name)) else [])


def read_combinations(folder: RunFolder) -> pd.DataFrame:
    """All combinations written so far, by name."""
    files = folder.list(COMBINATIONS)
    return _read(folder, [f.removesuffix(".parquet") for f in files if f.endswith(".parquet")])


def _read(folder: RunFolder, names: Sequence[str]) -> pd.DataFrame:
    tables = [SCHEMA.empty_table()]
    for name in names:
        table = read_file(folder, _file(name), SCHEMA)
        for row in table.to_pylist():
            if row["method"] not in METHODS:
                why = f"its method {row['method']} is none of {', '.join(METHODS)}"
                raise damaged(folder, f"{folder.path(_file(name))}: {why}")
            lacks = [column for column in _MADE if not (row[column] or row[column] == 0)]
            if lacks and not row["reason"]:
                why = f"it has neither {lacks[0]} nor a reason why there is none"
                raise damaged(folder, f"{folder.path(_file(name))}: {why}")
        known = [field for field in SCHEMA if field.name in table.column_names]
        tables.append(table.select([field.name for field in known]))
    frame = to_pandas(pa.concat_tables(tables, promote_options="default"))
    for column in ("candidates", "members"):
        frame[column] = [tuple(trials) for trials in frame[column]]
    frame["curve"] = [() if own is None else tuple(own) for own in frame["curve"].astype(object)]
    of_sets = frame["accuracies"].astype(object)
    frame["accuracies"] = [None if own is None else own.tolist() for own in of_sets]
    return frame


def _file(name: str) -> str:
    return f"{COMBINATIONS}/{name}.parquet"
