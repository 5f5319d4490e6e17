"""The Parquet tables of a run: their columns, and how they are written and read.

Every trial writes its own part file, each time whole: any number of processes on any number of
nodes write without a coordinator, and a trial that runs again replaces its rows. When a study has
ended, its parts become one file (search.run.compaction).
`pandas.read_parquet("runs/x/trials")` reads them without Steppe.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import dataset as ds

from search.errors import UserError
from search.nearest import nearest
from search.run.run_folder import EVALUATIONS, SELECTION, TRIALS, RunFolder

SCHEMA_VERSION = 1
STATES = ("completed", "pruned", "diverged", "failed")
STUDY_COLUMNS = ("sweep", "study", "dataset", "model", "algorithm", "held_out", "seed")

# The type of a hyperparameter, in every part file of a run: name -> float, int or str.
HpTypes = Mapping[str, type]

_ARROW_TYPES = {float: pa.float64(), int: pa.int64(), str: pa.string()}
_TIME = pa.timestamp("us", tz="UTC")

_STUDY_FIELDS = [
    pa.field(name, pa.int64() if name == "seed" else pa.string(), nullable=False)
    for name in STUDY_COLUMNS
]

_TRIAL_FIELDS = [
    *_STUDY_FIELDS,
    pa.field("trial", pa.string(), nullable=False),
    pa.field("number", pa.int64(), nullable=False),
    pa.field("state", pa.string(), nullable=False),
    pa.field("reason", pa.string()),  # why a trial is not completed
    pa.field("steps", pa.int64()),  # training steps done
    pa.field("best_step", pa.int64()),
    pa.field("objective", pa.float64()),  # value of the search objective, at best_step
    pa.field("objective_2", pa.float64()),  # of the second one there, if the search has two
    pa.field("seconds", pa.float64()),
    pa.field("passes", pa.float64()),  # forwards and backwards over a batch; a forward is 1/3
    pa.field("started", _TIME),
    pa.field("finished", _TIME),
    pa.field("node", pa.string()),
    pa.field("device", pa.string()),
]

_EVALUATION_FIELDS = [
    pa.field("sweep", pa.string(), nullable=False),
    pa.field("study", pa.string(), nullable=False),
    pa.field("trial", pa.string(), nullable=False),
    pa.field("step", pa.int64(), nullable=False),
    pa.field("weights", pa.string()),  # iterate, average; null in tables without averaging
    pa.field("fold", pa.string()),  # the domain that a fold leaves out; null in the trial's own run
    pa.field("domain", pa.string(), nullable=False),
    pa.field("role", pa.string(), nullable=False),  # source, held_out, left_out
    pa.field("split", pa.string(), nullable=False),  # in, out
    pa.field("accuracy", pa.float64()),
    pa.field("loss", pa.float64()),
    pa.field("count", pa.int64(), nullable=False),  # images
    pa.field("sharpness", pa.float64()),  # null unless the sweep measures flatness
    pa.field("curvature", pa.float64()),
    pa.field("seconds", pa.float64()),
    pa.field("passes", pa.float64()),
]

_SELECTION_FIELDS = [
    *_STUDY_FIELDS,
    pa.field("method", pa.string(), nullable=False),
    pa.field("trial", pa.string()),  # null: the study has no winner, `reason` says why
    pa.field("number", pa.int64()),
    pa.field("step", pa.int64()),
    pa.field("validation", pa.float64()),
    pa.field("accuracy", pa.float64()),
    pa.field("accuracy_all", pa.float64()),
    pa.field("reason", pa.string()),  # why a trial or an accuracy is missing
    pa.field("candidates", pa.int64()),  # trials that might have been chosen
    pa.field("ties", pa.int64()),  # others of them with the winner's score
    pa.field("failed", pa.int64()),  # trials of the study that failed
]

# Few different strings in millions of rows: categories take a quarter of the memory.
_EVALUATION_CATEGORIES = [
    *("sweep", "study", "trial", "weights", "fold", "domain", "role", "split")
]


def trials_schema(hp_types: HpTypes) -> pa.Schema:
    """Columns of `trials`, one `hp_<name>` for each hyperparameter of the sweep."""
    return _schema(_TRIAL_FIELDS, hp_types)


def evaluations_schema() -> pa.Schema:
    """Columns of `evaluations`: a row per (step, weights, fold, domain, split)."""
    return _schema(_EVALUATION_FIELDS, {})


def selection_schema(hp_types: HpTypes) -> pa.Schema:
    """Columns of `selection`: a row per (study, method)."""
    return _schema(_SELECTION_FIELDS, hp_types)


def hp_types_of(trials: pd.DataFrame) -> dict[str, type]:
    """The hyperparameters of a frame of trials and their types, from its `hp_` columns."""
    kinds: dict[str, type] = {"i": int, "f": float}
    return {
        str(column).removeprefix("hp_"): kinds.get(getattr(dtype, "kind", "O"), str)
        for column, dtype in trials.dtypes.items()
        if str(column).startswith("hp_")
    }


def write_trial(folder: RunFolder, row: Mapping[str, Any], hp_types: HpTypes) -> None:
    """Writes a trial's row, or replaces it.

    `row` is keyed by column (`trial`, `state`, `hp_lr`, ...); what is left out is null.
    `hp_types` names every hyperparameter of the sweep, so that all part files agree.
    Times are aware datetimes. Raises ValueError for an unknown column or state.
    """
    if row.get("state") not in STATES:
        raise ValueError(f"state {row.get('state')!r} is none of {', '.join(STATES)}")
    table = _table([row], trials_schema(hp_types))
    folder.write_bytes(part(TRIALS, row["trial"]), _parquet(table))


def write_evaluations(
    folder: RunFolder,
    sweep: str,
    study: str,
    trial: str,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Writes all evaluations of a trial so far, or replaces them.

    Each row holds step, weights, fold, domain, role, split, accuracy, loss, count and seconds, in
    the order of the runs, of their steps and, within a step, of the dataset's domains. Raises
    ValueError for another column.
    """
    known = {"sweep": sweep, "study": study, "trial": trial}
    table = _table([{**known, **row} for row in rows], evaluations_schema())
    folder.write_bytes(part(EVALUATIONS, trial), _parquet(table))


def write_none(folder: RunFolder, study: str, hp_types: HpTypes) -> None:
    """Writes that a study has ended without a trial."""
    if not folder.exists(part(TRIALS, study)):
        folder.write_bytes(part(TRIALS, study), _parquet(trials_schema(hp_types).empty_table()))


def write_selection(folder: RunFolder, selection: pd.DataFrame) -> None:
    """Writes what `selection.select` returned."""
    schema = selection_schema(hp_types_of(selection))
    table = pa.Table.from_pandas(selection, schema=schema, preserve_index=False)
    folder.write_bytes(SELECTION, _parquet(table.replace_schema_metadata(schema.metadata)))


def read_trial(folder: RunFolder, trial: str) -> dict[str, Any] | None:
    """The row of one trial, by column; None if it has written none."""
    try:
        content = folder.read_bytes(part(TRIALS, trial))
    except FileNotFoundError:
        return None
    try:
        row: dict[str, Any] = pq.read_table(io.BytesIO(content)).to_pylist()[0]
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(folder, error) from error
    return row


def read_trials(folder: RunFolder) -> pd.DataFrame:
    """All trials written so far, by study and number; also while the sweep runs.

    Integer columns that may be null are `Int64`, texts `str`, times UTC. No trials yet: an empty
    frame with these columns. Raises UserError if a newer version of Steppe wrote them.
    """
    frame = _read_parts(folder, TRIALS, trials_schema({}), categories=[])
    return frame.sort_values(["study", "number"], ignore_index=True)


def read_evaluations(folder: RunFolder) -> pd.DataFrame:
    """All evaluations written so far, those of a trial in the order it made them.

    Texts are categories. Raises UserError if a newer version of Steppe wrote them.
    """
    return _read_parts(folder, EVALUATIONS, evaluations_schema(), _EVALUATION_CATEGORIES)


def ended_studies(folder: RunFolder) -> set[str]:
    """Names of the studies that have ended: all trials of one are in a file of its own.

    The names of parts are among them, which are those of trials.
    """
    return {file.removesuffix(".parquet") for file in folder.list(TRIALS)}


def read_selection(folder: RunFolder) -> pd.DataFrame:
    """The winners that the sweep recorded; an empty frame if there is no selection yet."""
    if not folder.exists(SELECTION):
        return to_pandas(selection_schema({}).empty_table())
    table = pq.read_table(io.BytesIO(folder.read_bytes(SELECTION)))
    _check_version(table.schema, folder)
    return to_pandas(table)


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """A frame whose dtypes depend on the schema alone, never on which values are null."""
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    whole = [field.name for field in table.schema if field.type == pa.int64()]
    certain = [name for name in whole if not table.schema.field(name).nullable]
    return frame.astype(dict.fromkeys(certain, "int64"))


def _schema(fields: Sequence[pa.Field], hp_types: HpTypes) -> pa.Schema:
    hyperparameters = [pa.field(f"hp_{name}", _ARROW_TYPES[hp_types[name]]) for name in hp_types]
    version = {"schema_version": str(SCHEMA_VERSION)}
    return pa.schema([*fields, *hyperparameters], metadata=version)


def _table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    known = set(schema.names)
    for row in rows:
        if not row.keys() <= known:
            name = min(row.keys() - known)
            close = nearest(name, schema.names)
            hint = f"; did you mean {close}?" if close else ""
            raise ValueError(f"the table has no column {name!r}{hint}")
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _parquet(table: pa.Table) -> bytes:
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    return bytes(stream.getvalue())


def part(table: str, trial: str) -> str:
    """Name of the file that holds a trial's rows, or all rows of a study that has ended."""
    if trial.startswith((".", "_")):
        # Dataset readers skip such files: the trial would be lost without a word.
        raise ValueError(f"a trial's name must not start with {trial[0]!r}: {trial!r}")
    return f"{table}/{trial}.parquet"


def _read_parts(
    folder: RunFolder, name: str, empty: pa.Schema, categories: list[str]
) -> pd.DataFrame:
    for last in (False, False, True):
        files = [folder.path(f"{name}/{file}") for file in _counting(folder.list(name))]
        try:
            if files:
                return to_pandas(_read_files(folder, files, categories))
            break
        except OSError as error:
            # A study's parts may have become one file, or the store may be away: the list waits.
            if last:
                raise _damaged(folder, error) from error
    fields = [
        field.with_type(pa.dictionary(pa.int32(), pa.string()))
        if field.name in categories
        else field
        for field in empty
    ]
    return to_pandas(pa.schema(fields).empty_table())


def merge(folder: RunFolder, table: str, trials: Sequence[str], study: str) -> None:
    """Writes the rows of all these trials into the study's own file; their parts stay."""
    files = [folder.path(name) for name in folder.present(part(table, trial) for trial in trials)]
    if not files:
        return
    try:
        rows = _read_files(folder, files, [])
    except OSError as error:
        raise _damaged(folder, error) from error
    folder.write_bytes(part(table, study), _parquet(rows))


def split(folder: RunFolder, table: str, study: str) -> None:
    """Writes the rows of a study's own file into a part for each of its trials; the file stays."""
    try:
        rows = _read_files(folder, [folder.path(part(table, study))], [])
    except OSError as error:
        raise _damaged(folder, error) from error
    for trial in rows["trial"].unique().to_pylist():
        own = rows.filter(pc.equal(rows["trial"], trial))
        folder.write_bytes(part(table, trial), _parquet(own))


def _counting(files: Sequence[str]) -> list[str]:
    """The files whose rows count: not the parts of a study that has a file of its own."""
    names = [file.removesuffix(".parquet") for file in files if file.endswith(".parquet")]
    whole = set(names)
    return [f"{name}.parquet" for name in names if name.rpartition(".")[0] not in whole]


def _read_files(folder: RunFolder, files: Sequence[str], categories: list[str]) -> pa.Table:
    factory = ds.FileSystemDatasetFactory(
        folder.filesystem, files, ds.ParquetFileFormat(dictionary_columns=categories)
    )
    try:
        # Over all files: a run resumed with more hyperparameters has some with fewer columns.
        schema = factory.inspect(fragments=None)
        _check_version(schema, folder)
        return factory.finish(schema).to_table()
    except pa.ArrowInvalid as error:
        raise _damaged(folder, error) from error


def _damaged(folder: RunFolder, error: Exception) -> UserError:
    return UserError(f"a table of {folder.uri} cannot be read: {error}; move that file away")


def _check_version(schema: pa.Schema, folder: RunFolder) -> None:
    version = int((schema.metadata or {}).get(b"schema_version", SCHEMA_VERSION))
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{folder.uri} was written by a newer Steppe (tables version {version}, this one "
            f"reads {SCHEMA_VERSION}): update Steppe to read it"
        )
