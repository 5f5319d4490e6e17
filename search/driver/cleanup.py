"""Deletes files that are no longer needed, and merges the tables of studies that have ended."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping

from search.driver.study_record import Running, StudyRecord
from search.errors import SteppeError
from search.run import compaction
from search.run.checkpoints import delete_checkpoints, delete_weights, keep_only_weights
from search.run.run_folder import CORRECT, EVALUATIONS, TRIALS, RunFolder
from search.run.shared_runs import delete_folds, sharing
from search.run.storage import SweepStorage
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
            compaction.unmerge(self._folder, record.study.id)
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
            compaction.merge(self._folder, record.study.id, record.trials())
        except SteppeError as error:
            # Nothing is lost, and readers of the tables get the same error.
            log.warning("the tables of %s are not merged: %s", record.study.id, error)

    def _delete_folds(self, record: StudyRecord) -> None:
        """Deletes folds once all studies that share them have ended and none may continue."""
        others = self._sharing_folds[sharing(record.study)]
        if others and all(other.done and not other.ended_by_budget for other in others):
            delete_folds(self._folder, record.study)
