"""The tables of studies: a part for each trial while there are trials to come, then one file."""

from __future__ import annotations

import logging
from collections.abc import Collection

from search.driver.study_record import StudyRecord
from search.errors import SteppeError
from search.run import compaction
from search.run.run_folder import EVALUATIONS, TRIALS, RunFolder
from search.run.storage import SweepStorage

log = logging.getLogger("steppe")


class StudyFiles:
    """Knows which studies' parts have become one file of each table."""

    def __init__(self, folder: RunFolder, storage: SweepStorage) -> None:
        self._folder = folder
        self._storage = storage
        self._whole: set[str] = set()

    def look(self, records: Collection[StudyRecord]) -> None:
        """Sees what is there, and makes parts of studies that have ended one file."""
        there = {*self._folder.list(TRIALS), *self._folder.list(EVALUATIONS)}
        self._whole = {
            record.study.id for record in records if f"{record.study.id}.parquet" in there
        }
        for record in records:
            if record.done and any(f"{trial}.parquet" in there for trial in record.trials()):
                self.join(record)

    def join(self, record: StudyRecord) -> None:
        """Makes the parts of a study that has ended one file."""
        self._whole.add(record.study.id)
        try:
            self._storage.flush()  # a trial without a part is not looked for in the whole
            compaction.merge(self._folder, record.study.id, record.trials())
        except SteppeError as error:
            # Nothing is lost: whoever reads the tables is told the same.
            log.warning("the tables of %s stay in parts: %s", record.study.id, error)

    def part(self, record: StudyRecord) -> None:
        """Makes them parts again, before a trial is handed out whose own would be passed over."""
        if record.study.id in self._whole:
            compaction.unmerge(self._folder, record.study.id)
            self._whole.remove(record.study.id)
