"""Closes studies when their budget, or the sweep's, is spent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from search.driver.study_record import StudyRecord, Unfinished
from search.run import tables
from search.run.columns import FROZEN
from search.run.run_folder import RunFolder
from search.study.budgets import BUDGET, STUDY_BUDGET, Spent, has_limit, limits, spent_by_study
from search.worker.trial_rows import Progress


class BudgetGuard:
    """Compares the cost of all trials with the budgets of the sweep.

    The cost of a running trial is taken from its last report. Wall time is counted elsewhere
    (search.run.wall_clock). reserve: gives what a study has yet to spend in any case.
    """

    def __init__(
        self, records: Mapping[str, StudyRecord], reserve: Callable[[StudyRecord], Spent]
    ) -> None:
        common = next(iter(records.values())).plan
        self._records = records
        self._reserve = reserve
        self._budget = common.search.budget.model_dump(exclude={"wall_hours"})
        self._study_budget = common.search.study_budget.model_dump()
        self._resources = common.resources.model_dump()
        self._ended: defaultdict[str, Spent] = defaultdict(Spent)
        self._total = Spent()  # of all studies
        self._spent: set[str] = set()  # studies whose budget is spent
        self._changed: set[str] = set()  # studies to check again

    @property
    def limited(self) -> bool:
        """Whether the sweep has a budget."""
        return has_limit(self._budget) or has_limit(self._study_budget)

    def recall(self, folder: RunFolder) -> None:
        """Adds the cost of the trials that are in the tables."""
        if self.limited:
            trials = tables.read_trials(folder)
            self._ended.update(spent_by_study(trials[trials["state"] != FROZEN]))
            self._total = sum(self._ended.values(), Spent())
            self._changed = set(self._ended)

    def add_cost(self, study: str, seconds: float | None, passes: float | None) -> None:
        """Adds the cost of a finished trial: seconds of training, and passes."""
        cost = Spent(1, seconds or 0.0, passes or 0.0)
        self._ended[study] += cost
        self._total += cost
        self._changed.add(study)

    def close(self, interrupted: Iterable[Unfinished]) -> None:
        """Closes the records of studies whose budget is spent, and opens all others.

        interrupted: trials that will be handed out again.
        """
        if not self.limited:
            return
        at_work: defaultdict[str, Spent] = defaultdict(Spent)
        for record in self._records.values():
            for running in (*record.running.values(), *record.frozen.values()):
                at_work[record.study.id] += _cost_of(running.progress)
            at_work[record.study.id] += self._reserve(record)
        for left in interrupted:
            at_work[left.record.study.id] += _cost_of(left.progress)
        over = self._reached(BUDGET, self._budget, sum(at_work.values(), self._total))
        # The cost of a running trial shrinks if the trial is lost: check its study again.
        look, self._changed = self._changed | at_work.keys(), set(at_work)
        for study in look:
            self._spent.discard(study)
            cost = self._ended[study] + at_work[study]
            if self._reached(STUDY_BUDGET, self._study_budget, cost):
                self._spent.add(study)
        for study, record in self._records.items():
            record.closed = over or study in self._spent

    def _reached(self, key: str, budget: Mapping[str, float | None], cost: Spent) -> bool:
        return any(limit.reached for limit in limits(key, budget, self._resources, cost))


def _cost_of(progress: Progress | None) -> Spent:
    return Spent(1) if progress is None else Spent(1, progress.seconds, progress.passes)
