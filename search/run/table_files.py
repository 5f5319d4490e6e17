"""The Parquet files of a run's tables: written, and checked when they are read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from search.errors import SteppeError
from search.run.columns import SCHEMA_VERSION, correct_schema, evaluations_schema, trials_schema
from search.run.run_folder import CORRECT, EVALUATIONS, TRIALS, RunFolder

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
