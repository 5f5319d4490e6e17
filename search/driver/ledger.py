"""The ledger of a sweep: hands out trials of all studies, and records how they end.

It is the driver's view of the Optuna storage. Ray only carries trials out, and may die at any time.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from search.driver import warm_start
from search.driver.budget_guard import BudgetGuard
from search.driver.cleanup import Cleanup
from search.driver.freezing import Freezing
from search.driver.pruning import Pruning
from search.driver.queued_settings import LaterSeeds
from search.driver.seed_means import SeedMeans
from search.driver.study_record import (
    FAILURES,
    JUDGED,
    UNTRAINED,
    Running,
    StudyRecord,
    Unfinished,
    adopt,
    check_begun,
)
from search.driver.suggestions import Suggestions
from search.driver.termination import Terminator
from search.run import tables
from search.run.columns import FROZEN
from search.run.run_folder import RunFolder
from search.run.storage import SweepStorage
from search.study.plan import StudyPlan, TrialSpec
from search.sweep.search_keys import FREEZE_THAW
from search.worker.trial_rows import Progress, trial_row

log = logging.getLogger("steppe")


class Ledger:
    """Hands out trials and records how they end.

    On opening it adopts the trials that a dead driver left running: those that had written their
    row have ended, the others are handed out again before any new trial. Raises SteppeError if the
    storage is older than the tables.
    """

    def __init__(
        self, plans: Mapping[str, StudyPlan], folder: RunFolder, storage: SweepStorage
    ) -> None:
        check_begun(storage, folder, plans)
        common = next(iter(plans.values()))
        self._search = common.search
        self._folder = folder
        self._storage = storage
        self.records = {name: StudyRecord(plan, plan.trials) for name, plan in plans.items()}
        self._freezing = Freezing()
        self._seed_means = SeedMeans(self.records)
        self._pruning = Pruning(plans.values(), storage, self._freezing)
        earlier = warm_start.recorded(folder)
        self._suggestions = Suggestions(storage, self._pruning, self._seed_means, earlier)
        self._later_seeds = LaterSeeds(
            self.records,
            self._search.seed_reduction,
            lambda record: tables.write_no_trials(folder, record.study.id, common.column_types),
        )
        self._budget_guard = BudgetGuard(self.records, self._freezing.reserve)
        self._terminator = Terminator(self._search, self.records)
        self.cleanup = Cleanup(folder, storage, self.records)
        begun = self._suggestions.load(self.records.values())
        self._interrupted: deque[Unfinished] = deque()  # to hand out again
        for left in adopt(storage, folder, begun):
            if left.frozen:
                self._put_away(left.record, self._suggestions.same_trial(left))
            else:
                self._interrupted.append(left)
        self._terminator.recall()
        self._budget_guard.recall(folder)
        self._close_spent()
        self.cleanup.delete_leftovers()

    def next(self) -> TrialSpec | None:
        """A trial to carry out; None if no study may have another.

        Interrupted trials come first. Then the study with the fewest running trials, and among
        those with the fewest so far, so that samplers see most of their results before they
        suggest. With `freeze-thaw` it is the one that has trained least, and the trial is its most
        promising one, frozen or new.
        """
        while self._interrupted:
            running = self._suggestions.same_trial(self._interrupted.popleft())
            untrained = self._storage.get_trial(running.trial_id).user_attrs.get(UNTRAINED)
            if untrained is None:
                return running.spec
            self._write_and_end(running.spec, "pruned", untrained)
        self._close_spent()
        freezing = self._freezing
        while waiting := [record for record in self.records.values() if self._waits(record)]:
            record = min(waiting, key=lambda one: (len(one.running), freezing.worked(one)))
            frozen = freezing.to_thaw(record)
            if frozen is not None:
                return self._thaw(record, frozen)
            if not self._terminator.stops(record, freezing.settled(record)):
                self.cleanup.before_new_trial(record)
                running = self._suggestions.new_trial(
                    record, self.records.values(), [r.spec.number for r in record.frozen.values()]
                )
                freezing.changed(record)
                self._seed_means.changed(record)
                return running.spec
            self._settle(record)
        return None

    def report(self, spec: TrialSpec, progress: Progress) -> bool:
        """Records an evaluation; True if the trial is to be stopped.

        A trial that is to be frozen gets a row, which its worker looks for after each report.
        """
        record = self.records[spec.study.id]
        running = record.running[spec.trial]
        if progress.note and progress.note != (running.progress and running.progress.note):
            log.warning("%s: %s", spec.trial, progress.note)
        running.progress = progress
        if not self._freezing.applies(record):
            return self._pruning.stops(record, running, progress)
        self._budget_guard.close(self._interrupted)
        if self._pruning.stops(record, running, progress) or running.frozen:
            running.frozen = True
            self._write(running, FROZEN, f"{FREEZE_THAW}: waits {_where(progress)}")
        return False

    def is_frozen(self, spec: TrialSpec) -> bool:
        """Whether a running trial is to leave its worker."""
        return self.records[spec.study.id].running[spec.trial].frozen

    def freeze(self, spec: TrialSpec) -> None:
        """Records that a trial has saved its checkpoint and left its worker."""
        record = self.records[spec.study.id]
        running = record.running[spec.trial]
        if not running.frozen:  # its worker saw a row that was deleted, on a slow file system
            self._interrupt(record, running)
        else:
            self._put_away(record, running)

    def finish(self, spec: TrialSpec, progress: Progress) -> None:
        """Records a trial that completed or diverged, and has written its row."""
        assert progress.state is not None
        self._end(spec, trial_row(spec, progress, progress.state, progress.reason))

    def prune(self, spec: TrialSpec) -> None:
        """Records a trial that was stopped because others do better, and writes its row."""
        last = self.records[spec.study.id].running[spec.trial].progress
        where = _where(last)
        if last and self._search.compare_at == "passes":
            where += f" ({last.passes:g} passes)"
        reason = f"{self._search.scheduler}: behind other trials {where}"
        self._write_and_end(spec, "pruned", reason)

    def lose(self, spec: TrialSpec, reason: str, counts: bool) -> None:
        """Records that an attempt at a trial was interrupted; the trial will be handed out again.

        counts: whether the attempt counts as a failure. After more than search.max_failures of
        these without progress in between, the trial is recorded as failed. A trial that has written
        its row has ended, whatever happened later.
        """
        record = self.records[spec.study.id]
        running = record.running[spec.trial]
        row = tables.read_trial(self._folder, spec.trial)
        if row is not None and row["state"] != FROZEN:
            self._end(spec, row)
            return
        if running.frozen:
            self._put_away(record, running)
            return
        known = self._storage.get_trial(running.trial_id).user_attrs
        failures = known.get(FAILURES, 0) + counts
        if failures > self._search.max_failures:
            self.fail(spec, reason)
            return
        if counts:
            self._storage.set_trial_user_attr(running.trial_id, FAILURES, failures)
        self._interrupt(record, running)

    def fail(self, spec: TrialSpec, reason: str) -> None:
        """Records a trial that crashed too often, and writes its row."""
        self._write_and_end(spec, "failed", reason)

    def is_running(self, spec: TrialSpec) -> bool:
        """Whether the trial is being carried out."""
        return spec.trial in self.records[spec.study.id].running

    def last_report(self, spec: TrialSpec) -> Progress | None:
        """What a trial that is being carried out last reported, if that is known."""
        return self.records[spec.study.id].running[spec.trial].progress

    @property
    def left(self) -> int:
        """The number of trials still to hand out."""
        to_come = (
            record.max_trials - record.asked for record in self.records.values() if not record.full
        )
        frozen = (self._freezing.able(r) for r in self.records.values() if not r.resting)
        return len(self._interrupted) + sum(to_come) + sum(frozen)

    def _interrupt(self, record: StudyRecord, running: Running) -> None:
        """Notes that a trial is to be handed out again."""
        del record.running[running.spec.trial]
        self._interrupted.append(Unfinished(record, running.trial_id, running.progress))

    def _put_away(self, record: StudyRecord, running: Running) -> None:
        """Puts a trial that has left its worker among the frozen ones."""
        name = running.spec.trial
        del record.running[name]
        running.frozen = False
        record.frozen[name] = running
        self.cleanup.drop_checkpoints(self._freezing.without_checkpoint(record))

    def _thaw(self, record: StudyRecord, frozen: Running) -> TrialSpec:
        """Hands out a frozen trial. That is in the journal before its row is deleted."""
        name = frozen.spec.trial
        step = max(self._storage.get_trial(frozen.trial_id).intermediate_values)
        self._storage.set_trial_user_attr(frozen.trial_id, JUDGED, (step, False))
        self._storage.flush()
        record.running[name] = record.frozen.pop(name)
        self.cleanup.before_thaw(name)
        tables.delete_trial(self._folder, name)
        return frozen.spec

    def _waits(self, record: StudyRecord) -> bool:
        if self._seed_means.applies(record):
            return self._seed_means.waits(record)
        return self._freezing.waits(record)

    def _settle(self, record: StudyRecord) -> None:
        """Ends a study whose frozen trials can no longer win, or lets it rest without a budget."""
        if record.running or not record.frozen or self._freezing.waits(record):
            return
        if record.closed:
            record.resting = True
            return
        for name, running in [*record.frozen.items()]:
            record.running[name] = record.frozen.pop(name)
            where = _where(running.progress)
            self._write_and_end(running.spec, "pruned", f"{FREEZE_THAW}: could not win {where}")

    def _write(self, running: Running, state: str, reason: str) -> dict[str, Any]:
        row = trial_row(running.spec, running.progress, state, reason)
        tables.write_trial(self._folder, row, running.spec.plan.column_types)
        return row

    def _write_and_end(self, spec: TrialSpec, state: str, reason: str) -> None:
        running = self.records[spec.study.id].running[spec.trial]
        self._end(spec, self._write(running, state, reason))

    def _end(self, spec: TrialSpec, row: Mapping[str, Any]) -> None:
        """Records the end of a trial whose row is written, in this order: see `study_record`."""
        self._budget_guard.add_cost(spec.study.id, row.get("seconds"), row.get("passes"))
        record = self.records[spec.study.id]
        running = record.running.pop(spec.trial)
        record.end(self._storage, running.trial_id, row)
        self._freezing.changed(record)
        self._seed_means.changed(record)
        self.cleanup.after_trial(record, spec)
        self.cleanup.drop_checkpoints(self._freezing.without_checkpoint(record))
        if record.done:
            self._later_seeds.promote()

    def _close_spent(self) -> None:
        """Closes the studies that may spend no more, and promotes settings of those that ended."""
        self._budget_guard.close(self._interrupted)
        interrupted = {left.record.study.id for left in self._interrupted}
        for name, record in self.records.items():
            if not record.frozen:  # as in most sweeps all of them
                record.resting = False
                continue
            record.resting = record.resting and record.closed
            if name not in interrupted:
                self._settle(record)
        for record, number, reason in self._seed_means.untrained():
            self.cleanup.before_new_trial(record)
            untrained = self._suggestions.next_seed(record, number, reason)
            self._write_and_end(untrained.spec, "pruned", reason)
        self._later_seeds.promote()


def _where(last: Progress | None) -> str:
    """How far a trial has come, for the reason of its row."""
    if last is not None and last.folds:
        return "after 1 fold" if last.folds == 1 else f"after {last.folds} folds"
    return f"at step {last.step if last else 0}"
