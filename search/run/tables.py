"""Writes and reads the Parquet tables of a run.

Every trial writes a part file of its own, whole each time. So any number of processes on any number
of nodes write without a coordinator, and a trial that runs again replaces its rows. When a study
has ended, its parts are merged into one file (search.driver.cleanup).
`pandas.read_parquet("runs/x/trials")` reads the tables without Steppe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search.errors import SteppeError, nearest
from search.run.columns import (
    FROZEN,
    STATES,
    STUDY_COLUMNS,
    HpTypes,
    correct_schema,
    evaluations_schema,
    hp_types_of,
    selection_schema,
    to_pandas,
    trials_schema,
)
from search.run.run_folder import (
    CORRECT,
    EVALUATIONS,
    MANIFEST,
    SELECTION,
    SWEEP,
    TRIALS,
    RunFolder,
)
from search.run.table_files import (
    SCHEMAS,
    check_evaluations,
    check_trials,
    damaged,
    read_file,
    read_files,
    to_parquet,
)
from search.study.study import studies
from search.sweep.schema import Sweep

if TYPE_CHECKING:
    import pandas as pd

# Categories take a quarter of the memory, as millions of rows repeat a few strings.
_EVALUATION_CATEGORIES = [
    *("sweep", "study", "trial", "weights", "fold", "domain", "role", "split")
]

MOST_CHECKED = 1000  # files of a table; all of those of 100,000 trials take minutes


def write_trial(folder: RunFolder, row: Mapping[str, Any], hp_types: HpTypes) -> None:
    """Writes or replaces a trial's row.

    row: value by column (`trial`, `state`, `hp_lr`, ...); missing columns are null, times are aware
    datetimes. hp_types: every hyperparameter of the sweep, so that all part files have the same
    columns. Raises ValueError for an unknown column or state.
    """
    if row.get("state") not in STATES:
        raise ValueError(f"state {row.get('state')!r} is none of {', '.join(STATES)}")
    table = _table([row], trials_schema(hp_types))
    folder.write_bytes(part_file(TRIALS, row["trial"]), to_parquet(table))


def write_evaluations(
    folder: RunFolder,
    sweep: str,
    study: str,
    trial: str,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Writes or replaces all evaluations of a trial so far.

    rows: value by column (step, weights, fold, domain, role, split, accuracy, loss, count, seconds,
    ...), ordered by run, step and the dataset's order of domains. Raises ValueError for an unknown
    column.
    """
    known = {"sweep": sweep, "study": study, "trial": trial}
    table = _table([{**known, **row} for row in rows], evaluations_schema())
    folder.write_bytes(part_file(EVALUATIONS, trial), to_parquet(table))


def write_correct(
    folder: RunFolder,
    columns: Mapping[str, Any],
    trial: str,
    step: int,
    correct: Mapping[str, NDArray[np.bool_]],
) -> None:
    """Writes or replaces on which images of each held-out domain a trial is right.

    columns: those of its study. step: of the weights. correct: by domain, in the dataset's order.
    """
    known = {**columns, "trial": trial, "step": step}
    rows = [{**known, "domain": name, "correct": own} for name, own in correct.items()]
    folder.write_bytes(part_file(CORRECT, trial), to_parquet(_table(rows, correct_schema())))


def write_no_trials(folder: RunFolder, study: str, hp_types: HpTypes) -> None:
    """Records that a study ended without a trial."""
    if not folder.exists(part_file(TRIALS, study)):
        folder.write_bytes(
            part_file(TRIALS, study), to_parquet(trials_schema(hp_types).empty_table())
        )


def add_columns(folder: RunFolder, hp_types: HpTypes) -> None:
    """Gives the trials that are there empty columns for these hyperparameters, where they lack any.

    So all files have the same columns, although some were written when a run had fewer algorithms:
    readers other than Steppe take the columns of the first file for all. Repeating it changes
    nothing. Raises SteppeError if a file is damaged.
    """
    schema = trials_schema(hp_types)
    for file in folder.list(TRIALS):
        name = f"{TRIALS}/{file}"
        table = read_file(folder, name, SCHEMAS[TRIALS])
        if not set(schema.names) <= set(table.column_names):
            for field in schema:
                if field.name not in table.column_names:
                    table = table.append_column(field, pa.nulls(len(table), field.type))
            others = [column for column in table.column_names if column not in schema.names]
            table = table.select([*schema.names, *others])
            folder.write_bytes(name, to_parquet(table))


def write_selection(folder: RunFolder, selection: pd.DataFrame) -> None:
    """Writes the table that `selection.select` returned."""
    schema = selection_schema(hp_types_of(selection))
    table = pa.Table.from_pandas(selection, schema=schema, preserve_index=False)
    folder.write_bytes(SELECTION, to_parquet(table.replace_schema_metadata(schema.metadata)))


def read_trial(folder: RunFolder, trial: str) -> dict[str, Any] | None:
    """The row of one trial, by column; None if there is none."""
    name = part_file(TRIALS, trial)
    try:
        rows: list[dict[str, Any]] = read_file(folder, name, SCHEMAS[TRIALS]).to_pylist()
    except FileNotFoundError:
        return None
    if not rows:
        raise damaged(folder, f"{folder.path(name)}: it has no rows")
    return rows[0]


def has_ended(folder: RunFolder, study: str, trial: str) -> bool:
    """Whether a trial has its row in the tables, so that another attempt at it may stop."""
    row = read_trial(folder, trial)
    return folder.exists(part_file(TRIALS, study)) if row is None else row["state"] != FROZEN


def frozen_at(folder: RunFolder, trial: str) -> int | None:
    """The step at which a trial is frozen, by its row; None if it is not."""
    row = read_trial(folder, trial)
    return row["steps"] if row is not None and row["state"] == FROZEN else None


def delete_trial(folder: RunFolder, trial: str) -> None:
    """Deletes the row of a trial that is trained further."""
    folder.delete(part_file(TRIALS, trial))


def read_trials(folder: RunFolder) -> pd.DataFrame:
    """All trials written so far, sorted by study and number; also while the sweep runs.

    Nullable integer columns are `Int64`, texts `str`, times UTC. Before the first trial the frame
    is empty but has all columns. Raises SteppeError if a newer version of Steppe wrote the table,
    or if it is damaged.
    """
    frame = _read_table(folder, TRIALS, trials_schema({}), categories=[])
    check_trials(folder, frame)
    return frame.sort_values(["study", "number"], ignore_index=True)


def check_studies(folder: RunFolder, sweep: Sweep, trials: pd.DataFrame) -> None:
    """Raises SteppeError if trials of a run are of a study that its sweep does not have."""
    known = {study.id: {"sweep": sweep.name, **study.columns} for study in studies(sweep)}
    for row in trials[[*STUDY_COLUMNS]].drop_duplicates().to_dict("records"):
        study = row.pop("study")
        if known.get(study) != row:
            raise SteppeError(
                f"{folder.path(TRIALS)} holds trials of {study}, which {folder.path(SWEEP)} does "
                f"not have (with {row}); put back the {SWEEP}, {MANIFEST} and tables of one run"
            )


def read_evaluations(folder: RunFolder) -> pd.DataFrame:
    """All evaluations written so far; those of one trial are in the order of their making.

    Texts are categories. Raises SteppeError if a newer version of Steppe wrote the table, or if it
    is damaged.
    """
    frame = _read_table(folder, EVALUATIONS, evaluations_schema(), _EVALUATION_CATEGORIES)
    check_evaluations(folder, frame)
    return frame


def check(folder: RunFolder) -> None:
    """Raises SteppeError if a table is damaged, or a newer version of Steppe wrote it.

    Of a table in more than MOST_CHECKED files, that many, evenly spaced, are read.
    """
    _read_table(folder, TRIALS, trials_schema({}), [], MOST_CHECKED)
    _read_table(folder, EVALUATIONS, evaluations_schema(), [], MOST_CHECKED)


def ended_studies(folder: RunFolder) -> set[str]:
    """Names of the studies that have ended, which have one file for all of their trials.

    The names of trials whose parts are not merged yet are in the set too.
    """
    return {file.removesuffix(".parquet") for file in folder.list(TRIALS)}


def merged_numbers(folder: RunFolder, study: str) -> set[int]:
    """The numbers of the trials in a study's merged file; empty if it has none."""
    try:
        table = read_file(folder, part_file(TRIALS, study), SCHEMAS[TRIALS])
    except FileNotFoundError:
        return set()
    return set(table["number"].to_pylist())


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


def part_file(table: str, trial: str) -> str:
    """The file that holds the rows of a trial, or all rows of an ended study."""
    if trial.startswith((".", "_")):
        # Dataset readers skip such files, so the trial would be lost silently.
        raise ValueError(f"a trial's name must not start with {trial[0]!r}: {trial!r}")
    return f"{table}/{trial}.parquet"


def _read_table(
    folder: RunFolder,
    name: str,
    empty: pa.Schema,
    categories: list[str],
    most: int | None = None,
) -> pd.DataFrame:
    for last in (False, False, True):
        files = [folder.path(f"{name}/{file}") for file in _without_merged_parts(folder.list(name))]
        files = files[:: -(-len(files) // most) or 1] if most is not None else files
        try:
            if files:
                return to_pandas(read_files(folder, files, empty, categories))
            break
        except OSError as error:
            # The parts may just have been merged, or the store be away: list the files again.
            if last:
                raise damaged(folder, error) from error
    fields = [
        field.with_type(pa.dictionary(pa.int32(), pa.string()))
        if field.name in categories
        else field
        for field in empty
    ]
    return to_pandas(pa.schema(fields).empty_table())


def _without_merged_parts(files: Sequence[str]) -> list[str]:
    """The files whose rows count: without the parts of a study that has a merged file."""
    names = [file.removesuffix(".parquet") for file in files if file.endswith(".parquet")]
    whole = set(names)
    return [f"{name}.parquet" for name in names if name.rpartition(".")[0] not in whole]
