"""Merges the part files of a study that has ended into one file of each table.

A sweep of 10,000 trials is then read from hundreds of files instead of twenty thousand. The merged
file is written before the parts are deleted, and readers ignore the parts of a study that has one.
So a trial's rows count once, whenever a driver dies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from search.run.run_folder import CORRECT, EVALUATIONS, TRIALS, RunFolder
from search.run.tables import damaged, part_file, read_files, to_parquet


def merge(folder: RunFolder, study: str, trials: Iterable[str]) -> None:
    """Merges the part files of `trials`, which are all of the study's trials.

    Repeating it, after a crash or for a part that was written late, changes no row. Raises
    SteppeError if a part is damaged.
    """
    trials = list(trials)
    # `trials` last: until the study has its file there, trials are looked up one by one.
    for table in (*_if_any(folder), EVALUATIONS, TRIALS):
        parts = [part_file(table, trial) for trial in trials]
        if not folder.exists(part_file(table, study)):
            _merge_table(folder, table, parts, study)
        for part in parts:
            folder.delete(part)


def unmerge(folder: RunFolder, study: str) -> None:
    """Splits the merged files of a study into a part for each trial, so that it can have more.

    Readers ignore the parts until the merged file is deleted. Repeating it, after a crash, changes
    no row. Raises SteppeError if a file is damaged.
    """
    tables = (TRIALS, EVALUATIONS, *_if_any(folder))
    merged = [table for table in tables if folder.exists(part_file(table, study))]
    for table in merged:
        _split_table(folder, table, study)
    for table in merged:
        folder.delete(part_file(table, study))


def _if_any(folder: RunFolder) -> list[str]:
    """The table that only some runs have, if this one has it."""
    return [CORRECT] if folder.exists(CORRECT) else []


def _merge_table(folder: RunFolder, table: str, parts: Iterable[str], study: str) -> None:
    files = [folder.path(name) for name in folder.present(parts)]
    if not files:
        return
    folder.write_bytes(part_file(table, study), to_parquet(_read(folder, files)))


def _split_table(folder: RunFolder, table: str, study: str) -> None:
    rows = _read(folder, [folder.path(part_file(table, study))])
    for trial in rows["trial"].unique().to_pylist():
        own = rows.filter(pc.equal(rows["trial"], trial))
        folder.write_bytes(part_file(table, trial), to_parquet(own))


def _read(folder: RunFolder, files: Sequence[str]) -> pa.Table:
    try:
        return read_files(folder, files)
    except OSError as error:
        raise damaged(folder, error) from error
