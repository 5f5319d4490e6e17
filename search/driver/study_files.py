"""The tables of studies: a part for each trial while there are trials to come, then one file."""

from __future__ import annotations

import logging
from collections.abc import Collection

from search.driver.book import Book
from search.errors import UserError
from search.run.compaction import compact, unpack
from search.run.run_folder import EVALUATIONS, TRIALS, RunFolder
from search.run.storage import SweepStorage

log = logging.getLogger("steppe")


class StudyFiles:
    """Knows which studies' parts have become one file of each table."""

    def __init__(self, folder: RunFolder, storage: SweepStorage) -> None:
        self._folder = folder
        self._storage = storage
        self._whole: set[str] = set()

    def look(self, books: Collection[Book]) -> None:
        """Sees what is there, and makes parts of studies that have ended one file."""
        there = {*self._folder.list(TRIALS), *self._folder.list(EVALUATIONS)}
        self._whole = {book.study.id for book in books if f"{book.study.id}.parquet" in there}
        for book in books:
            if book.done and any(f"{trial}.parquet" in there for trial in book.trials()):
                self.join(book)

    def join(self, book: Book) -> None:
        """Makes the parts of a study that has ended one file."""
        self._whole.add(book.study.id)
        try:
            self._storage.flush()  # a trial without a part is not looked for in the whole
            compact(self._folder, book.study.id, book.trials())
        except UserError as error:
            # Nothing is lost: whoever reads the tables is told the same.
            log.warning("the tables of %s stay in parts: %s", book.study.id, error)

    def part(self, book: Book) -> None:
        """Makes them parts again, before a trial is handed out whose own would be passed over."""
        if book.study.id in self._whole:
            unpack(self._folder, book.study.id)
            self._whole.remove(book.study.id)
