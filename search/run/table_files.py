"""The Parquet files of a run's tables: written, and checked when they are read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from search.errors import SteppeError
from search.run.columns import (
    SCHEMA_VERSION,
    WORDS,
    correct_schema,
    evaluations_schema,
    trials_schema,
)
from search.run.run_folder import CORRECT, EVALUATIONS, TRIALS, RunFolder

if TYPE_CHECKING:
    import pandas as pd

# The columns that Steppe relies on; there may be more, such as those of hyperparameters.
SCHEMAS = {TRIALS: trials_schema({}), EVALUATIONS: evaluations_schema(), CORRECT: correct_schema()}

_AT_ONCE = 1000  # files whose rows become one table
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


def to_parquet(table: pa.Table) -> bytes:
    """The content of a Parquet file."""
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    return bytes(stream.getvalue())


def read_file(folder: RunFolder, name: str, schema: pa.Schema) -> pa.Table:
    """Reads one file of a table of these columns.

    Raises FileNotFoundError if there is none, and SteppeError if it is damaged.
    """
    content = folder.read_bytes(name)
    try:
        with pq.ParquetFile(io.BytesIO(content)) as opened:
            return _checked(opened, schema, folder)
    except _UNREADABLE as error:
        raise damaged(folder, f"{folder.path(name)}: {error}") from error


def read_files(
    folder: RunFolder, files: Sequence[str], schema: pa.Schema, categories: Sequence[str] = ()
) -> pa.Table:
    """Reads files of one table. Raises OSError, which names it, if one is missing or damaged.

    In groups, and then made one: a small table takes many times the memory of its few rows.
    """

    def read(file: str) -> pa.Table:
        try:
            with pq.ParquetFile(
                file, read_dictionary=list(categories), filesystem=folder.filesystem
            ) as opened:
                return _checked(opened, schema, folder)
        except _UNREADABLE as error:
            raise OSError(f"{file}: {error}") from error

    groups = [files[first : first + _AT_ONCE] for first in range(0, len(files), _AT_ONCE)]
    with ThreadPoolExecutor() as pool:
        # After a resume with more hyperparameters, older files lack columns.
        return _as_one([_as_one(pool.map(read, group)) for group in groups])


def _checked(opened: pq.ParquetFile, schema: pa.Schema, folder: RunFolder) -> pa.Table:
    """The content of a file, with the types of these columns and maybe more columns.

    Earlier commits lack columns that may be null. Raises ValueError if another is missing or null,
    or holds something else.
    """
    there = opened.schema_arrow
    _check_version(there, folder)
    lacks = [field.name for field in schema if not (field.nullable or field.name in there.names)]
    if lacks:
        raise ValueError(f"it has no column {lacks[0]}")
    table = opened.read(use_threads=False)
    for field in schema:
        index = there.get_field_index(field.name)
        if index < 0:
            continue
        column = table.column(index)
        if column.null_count and not field.nullable:
            raise ValueError(f"its column {field.name} has {column.null_count} nulls")
        kind = column.type
        if field.type not in (kind, kind.value_type if pa.types.is_dictionary(kind) else kind):
            try:
                table = table.set_column(index, field, column.cast(field.type))
            except pa.ArrowException as error:
                raise ValueError(f"its column {field.name} holds {kind}: {error}") from error
    return table


def _as_one(parts: Iterable[pa.Table]) -> pa.Table:
    try:
        whole = pa.concat_tables(parts, promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise OSError(f"its files do not fit together: {error}") from error
    return whole.unify_dictionaries().combine_chunks()


def check_trials(folder: RunFolder, frame: pd.DataFrame) -> None:
    """Raises SteppeError if rows of `trials` are none that a run writes."""
    name = frame["study"] + "." + frame["number"].astype(str)
    wrong = {
        **_other_words(frame),
        "is there twice": frame["trial"].duplicated(),
        "is not its study and number": frame["trial"] != name,
    }
    _refuse(folder, TRIALS, frame, wrong)


def check_evaluations(folder: RunFolder, frame: pd.DataFrame) -> None:
    """Raises SteppeError if rows of `evaluations` are none that a run writes.

    Their texts are categories.
    """
    wrong = {
        **_other_words(frame),
        "has an accuracy that is no fraction": (frame["accuracy"] < 0) | (frame["accuracy"] > 1),
        "has a count below 1": frame["count"] < 1,
        "has a step below 0": frame["step"] < 0,
    }
    if "fold" in frame:  # else of a commit without folds
        fold, domain = frame["fold"].cat, frame["domain"].cat
        same = fold.set_categories(domain.categories).cat.codes == domain.codes
        wrong["has a fold that is not its domain"] = frame["fold"].notna() & ~same
    _refuse(folder, EVALUATIONS, frame, wrong)


def _other_words(frame: pd.DataFrame) -> dict[str, pd.Series[bool]]:
    return {
        f"has a value in {column} that is none of {', '.join(known)}": frame[column].notna()
        & ~frame[column].isin(known)
        for column, known in WORDS.items()
        if column in frame
    }


def _refuse(
    folder: RunFolder, table: str, frame: pd.DataFrame, wrong: Mapping[str, pd.Series[bool]]
) -> None:
    """Raises SteppeError, which names its trial, for a wrong row. wrong: rows, by what is wrong."""
    for what, rows in wrong.items():
        if rows.any():
            trial = frame["trial"][rows].iloc[0]
            raise damaged(folder, f"in {folder.path(table)}, {trial} {what}")


def damaged(folder: RunFolder, error: object) -> SteppeError:
    """The error for a table that cannot be read."""
    return SteppeError(
        f"a table of {folder.uri} cannot be read: {error}; put a copy of that file "
        "back, or move it away"
    )


def _check_version(schema: pa.Schema, folder: RunFolder) -> None:
    version = int((schema.metadata or {}).get(b"schema_version", SCHEMA_VERSION))
    if version > SCHEMA_VERSION:
        raise SteppeError(
            f"{folder.uri} was written by a newer Steppe (tables version {version}, this one "
            f"reads {SCHEMA_VERSION}): update Steppe to read it"
        )
