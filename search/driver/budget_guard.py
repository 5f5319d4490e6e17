"""What a sweep and its studies may spend, and the closing of those that have spent it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from search.driver.study_record import StudyRecord
from search.run import tables
from search.run.run_folder import RunFolder
from search.study.budgets import BUDGET, STUDY_BUDGET, Spent, has_limit, limits, spent_by_study
from search.sweep.schema import Resources
from search.sweep.search_keys import Search
from search.worker.trial_rows import Progress


class BudgetGuard:
    """Counts what trials cost, those at work by what they said last, against the sweep's budgets.

    Wall time is not counted here: see search.run.wall_clock.
    """

    def __init__(self, search: Search, resources: Resources) -> None:
        self._budget = search.budget.model_dump(exclude={"wall_hours"})
        self._study_budget = search.study_budget.model_dump()
        self._resources = resources.model_dump()
        self._ended: defaultdict[str, Spent] = defaultdict(Spent)
        self._total = Spent()  # of all that ended
        self._spent: set[str] = set()  # studies that may spend no more
        self._changed: set[str] = set()  # those to look at anew

    @property
    def limited(self) -> bool:
        return has_limit(self._budget) or has_limit(self._study_budget)

    def recall(self, folder: RunFolder) -> None:
        """Takes over what the trials cost that ended before."""
        if self.limited:
            self._ended.update(spent_by_study(tables.read_trials(folder)))
            self._total = sum(self._ended.values(), Spent())
            self._changed = set(self._ended)

    def add_cost(self, study: str, seconds: float | None, passes: float | None) -> None:
        """Adds the cost of a trial that has ended: seconds of training, and passes."""
        cost = Spent(1, seconds or 0.0, passes or 0.0)
        self._ended[study] += cost
        self._total += cost
        self._changed.add(study)

    def close(
        self,
        records: Mapping[str, StudyRecord],
        waiting: Iterable[tuple[StudyRecord, Progress | None]],
    ) -> None:
        """Closes the records of studies that may spend no more, and opens those that may again.

        waiting: trials that are to be handed out again, and what they said last.
        """
        if not self.limited:
            return
        at_work: defaultdict[str, Spent] = defaultdict(Spent)
        for record in records.values():
            for running in record.running.values():
                at_work[record.study.id] += _said(running.progress)
        for record, progress in waiting:
            at_work[record.study.id] += _said(progress)
        over = self._reached(BUDGET, self._budget, sum(at_work.values(), self._total))
        # What is at work now may be lost, and so cost less when this is asked again.
        look, self._changed = self._changed | at_work.keys(), set(at_work)
        for study in look:
            self._spent.discard(study)
            cost = self._ended[study] + at_work[study]
            if self._reached(STUDY_BUDGET, self._study_budget, cost):
                self._spent.add(study)
        for study, record in records.items():
            record.closed = over or study in self._spent

    def _reached(self, key: str, budget: Mapping[str, float | None], cost: Spent) -> bool:
        return any(limit.reached for limit in limits(key, budget, self._resources, cost))


def _said(progress: Progress | None) -> Spent:
    return Spent(1) if progress is None else Spent(1, progress.seconds, progress.passes)
