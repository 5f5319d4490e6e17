"""What each study tries before its sampler has a say."""

from __future__ import annotations

import optuna

from datasets.splits import seed_hash
from search import samplers
from search.config import Sweep
from search.config.one_dataset import by_dataset
from search.driver import seeds, warm_start
from search.driver.book import Book
from search.run.run_folder import RunFolder
from search.space import Value
from search.study_space import first_settings, grid


class FirstTrials:
    """Queues settings in the storage, where a resume finds them."""

    def __init__(self, sweep: Sweep, folder: RunFolder) -> None:
        self._search = sweep.search
        self._parts = by_dataset(sweep)
        self._earlier = warm_start.recorded(folder)

    def queue(self, book: Book, study: optuna.Study) -> None:
        """Queues what the study tries first and has not queued yet.

        Of a later seed: the best settings of the seed before. Of a grid: its points. Else the
        published setting, those of earlier runs, and those of the sweep.
        """
        if book.after is not None:
            seeds.queue(book, book.after, study)
            return
        for setting in self._settings(book):
            study.enqueue_trial(setting, skip_if_exists=True)

    def _settings(self, book: Book) -> list[dict[str, Value]]:
        if self._search.sampler == "grid":
            points = grid(book.space)
            seed = seed_hash(self._search.seed, book.study.id)
            return samplers.shuffled(points, seed)[: book.budget]
        earlier = self._earlier.get(book.study.id, [])
        return first_settings(self._parts[book.study.dataset], book.study.algorithm, earlier)
