"""What a sweep and its studies may spend, and the closing of those that have spent it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from search.config import Sweep
from search.driver.book import Book
from search.run import tables
from search.run.run_folder import RunFolder
from search.spending import BUDGET, STUDY_BUDGET, Cost, costs, limits
from search.worker.trial_rows import Progress


class Purse:
    """Counts what trials cost, those at work by what they said last, against the sweep's budgets.

    Wall time is not counted here: see search.run.wall_clock.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._budget = sweep.search.budget.model_dump(exclude={"wall_hours"})
        self._study_budget = sweep.search.study_budget.model_dump()
        self._resources = sweep.resources.model_dump()
        self._ended: defaultdict[str, Cost] = defaultdict(Cost)

    @property
    def limited(self) -> bool:
        budgets = (*self._budget.values(), *self._study_budget.values())
        return any(most is not None for most in budgets)

    def recall(self, folder: RunFolder) -> None:
        """Takes over what the trials cost that ended before."""
        if self.limited:
            self._ended.update(costs(tables.read_trials(folder)))

    def pay(self, study: str, seconds: float | None, passes: float | None) -> None:
        """A trial of a study ended that cost so much."""
        self._ended[study] += Cost(1, seconds or 0.0, passes or 0.0)

    def close(
        self, books: Mapping[str, Book], waiting: Iterable[tuple[Book, Progress | None]]
    ) -> None:
        """Closes the books of studies that may spend no more, and opens those that may again.

        waiting: trials that are to be handed out again, and what they said last.
        """
        if not self.limited:
            return
        spent = {study: self._of(book) for study, book in books.items()}
        for book, progress in waiting:
            spent[book.study.id] += _said(progress)
        over = self._reached(BUDGET, self._budget, sum(spent.values(), Cost()))
        for study, book in books.items():
            book.closed = over or self._reached(STUDY_BUDGET, self._study_budget, spent[study])

    def _of(self, book: Book) -> Cost:
        at_work = (_said(running.progress) for running in book.running.values())
        return sum(at_work, self._ended[book.study.id])

    def _reached(self, key: str, budget: Mapping[str, float | None], cost: Cost) -> bool:
        return any(limit.reached for limit in limits(key, budget, self._resources, cost))


def _said(progress: Progress | None) -> Cost:
    return Cost(1) if progress is None else Cost(1, progress.seconds, progress.passes)
