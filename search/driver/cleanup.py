"""Deletes files that are no longer needed, and merges the tables of studies that have ended.

A sweep of 10,000 trials is then read from hundreds of files instead of twenty thousand. The merged
file is written before the parts are deleted, and readers ignore the parts of a study that has one.
So a trial's rows count once, whenever a driver dies.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from search.driver.study_record import Running, StudyRecord
from search.errors import SteppeError
from search.run.checkpoints import delete_checkpoints, delete_weights, keep_only_weights
from search.run.run_folder import CORRECT, EVALUATIONS, TRIALS, RunFolder
from search.run.shared_runs import delete_folds, sharing
from search.run.storage import SweepStorage
from search.run.table_files import SCHEMAS, damaged, read_files, to_parquet
from search.run.tables import part_file
from search.study.plan import TrialSpec

log = logging.getLogger("steppe")


class Cleanup:
    """Keeps the files of trials and studies while they are needed; then deletes or merges them.

    A study has a table file for each trial while more trials may come, then one merged file.
    """

    def __init__(
        self, folder: RunFolder, storage: SweepStorage, records: Mapping[str, StudyRecord]
    ) -> None:
        self._folder = folder
        self._storage = storage
        self._records = records
        self._merged: set[str] = set()  # studies that have a merged file
        self._dropped: set[str] = set()  # frozen trials without a checkpoint
        self._sharing_folds: defaultdict[str, list[StudyRecord]] = defaultdict(list)
        for record in records.values():
            if record.plan.makes_folds:
                self._sharing_folds[sharing(record.study)].append(record)

    def delete_leftovers(self) -> None:
        """Deletes and merges what dead or late processes left. No trial may be running."""
        there = {
            file for table in (TRIALS, EVALUATIONS, CORRECT) for file in self._folder.list(table)
        }
        records = self._records.values()
        names = [record.study.id for record in records]
        self._merged = {name for name in names if f"{name}.parquet" in there}
        for record in records:
            if record.done and not record.frozen:  # a larger budget would go on with these
                if any(f"{trial}.parquet" in there for trial in record.trials()):
                    self._merge(record)
                self._delete_folds(record)
        keep_only_weights(self._folder, [trial for record in records for trial in record.kept])
        self._folder.delete_partials()

    def before_new_trial(self, record: StudyRecord) -> None:
        """Splits the study's merged tables, as readers would ignore the new trial's file."""
        if record.study.id in self._merged:
            unmerge(self._folder, record.study.id)
            self._merged.remove(record.study.id)

    def drop_checkpoints(self, trials: Iterable[Running]) -> None:
        """Deletes the checkpoints of frozen trials; one that goes on then starts over."""
        for running in trials:
            if running.spec.trial not in self._dropped:
                delete_checkpoints(self._folder, running.spec)
                self._dropped.add(running.spec.trial)

    def before_thaw(self, trial: str) -> None:
        """Notes that a frozen trial may have checkpoints again."""
        self._dropped.discard(trial)

    def after_trial(self, record: StudyRecord, spec: TrialSpec) -> None:
        """Deletes the checkpoints of a trial that has ended, and weights that are not kept."""
        delete_checkpoints(self._folder, spec)
        for trial in record.put_away(spec.number):
            delete_weights(self._folder, trial)
        if record.done:
            self._merge(record)
            self._delete_folds(record)

    def _merge(self, record: StudyRecord) -> None:
        self._merged.add(record.study.id)
        try:
            self._storage.flush()  # the merged file is not searched for trials without a part
            merge(self._folder, record.study.id, record.trials())
        except SteppeError as error:
            # Nothing is lost, and readers of the tables get the same error.
            log.warning("the tables of %s are not merged: %s", record.study.id, error)

    def _delete_folds(self, record: StudyRecord) -> None:
        """Deletes folds once all studies that share them have ended and none may continue."""
        others = self._sharing_folds[sharing(record.study)]
        if others and all(other.done and not other.ended_by_budget for other in others):
            delete_folds(self._folder, record.study)


def merge(folder: RunFolder, study: str, trials: Sequence[str]) -> None:
    """Merges the part files of `trials`, which are all of the study's trials.

    Repeating it, after a crash or for a part that was written late, changes no row. Raises
    SteppeError if a part is damaged.
    """
    # `trials` last: until the study has its file there, trials are looked up one by one.
    for table in (*_if_any(folder), EVALUATIONS, TRIALS):
        parts = [part_file(table, trial) for trial in trials]
        whole = part_file(table, study)
        if not folder.exists(whole) and (there := folder.present(parts)):
            folder.write_bytes(whole, to_parquet(_rows(folder, table, there)))
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
        rows = _rows(folder, table, [part_file(table, study)])
        for trial in rows["trial"].unique().to_pylist():
            own = rows.filter(pc.equal(rows["trial"], trial))
            folder.write_bytes(part_file(table, trial), to_parquet(own))
    for table in merged:
        folder.delete(part_file(table, study))


def _if_any(folder: RunFolder) -> list[str]:
    """The table that only some runs have, if this one has it."""
    return [CORRECT] if folder.exists(CORRECT) else []


def _rows(folder: RunFolder, table: str, files: Sequence[str]) -> pa.Table:
    try:
        return read_files(folder, [folder.path(file) for file in files], SCHEMAS[table])
    except OSError as error:
        raise damaged(folder, error) from error
