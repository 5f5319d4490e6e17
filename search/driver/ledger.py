"""Who was asked what and how it went: all studies of a sweep, over one Optuna storage.

The ledger is the driver's view of the storage, which is the truth. Ray carries trials out; it is
told what to run and reports back, and may die at any time.
"""

from __future__ import annotations

import logging
from collections import deque

import optuna
from optuna.trial import TrialState

from datasets.splits import seed_hash
from search import pruners, samplers
from search.assignment import Assignment
from search.config import Sweep
from search.config.one_dataset import OneDataset, by_dataset
from search.distributions import suggest
from search.driver.book import Book, Running
from search.errors import UserError
from search.run import tables
from search.run.checkpoints import delete_checkpoints
from search.run.compaction import compact
from search.run.kept_weights import delete_weights, keep_only
from search.run.run_folder import EVALUATIONS, TRIALS, RunFolder
from search.run.storage import SweepStorage
from search.space import Value
from search.studies import Study, studies
from search.study_space import budget, column_types, first_settings, grid, study_space
from search.trial_state import FAILURES, REASON, STATE, state_of
from search.worker.trial_rows import Progress, trial_row

log = logging.getLogger("steppe")


class Ledger:
    """Hands out trials and records how they end.

    On opening, trials that a dead driver left running are put right: those that had written their
    row are told to Optuna, the others are handed out again before anything new.
    """

    def __init__(self, sweep: Sweep, folder: RunFolder, storage: SweepStorage) -> None:
        self._sweep = sweep
        self._folder = folder
        self._storage = storage
        self._hp_types = column_types(sweep)
        self._orphans: deque[tuple[Book, int, Progress | None]] = deque()
        self._parts = by_dataset(sweep)
        self._pruners = {
            dataset: pruners.build(
                one.search.scheduler,
                one.training.steps,
                grace_steps(one),
                one.search.reduction_factor,
            )
            for dataset, one in self._parts.items()
        }
        self.books = {study.id: self._book(study) for study in studies(sweep)}
        self._adopt()
        self.tidy()

    def next(self) -> Assignment | None:
        """A trial to carry out; None if every study has asked for all of its trials.

        Adopted trials come first. Then the study with the fewest trials at work, and among those
        with the fewest so far, so that each sampler sees most of its results before it suggests.
        """
        if self._orphans:
            book, trial_id, progress = self._orphans.popleft()
            assert book.optuna is not None
            assignment = self._start(book, optuna.trial.Trial(book.optuna, trial_id))
            book.running[assignment.trial].progress = progress
            return assignment
        waiting = [book for book in self.books.values() if book.open]
        if not waiting:
            return None
        book = min(waiting, key=lambda book: (len(book.running), book.asked))
        if book.optuna is None:
            book.optuna = self._begin(book, new=True)
        book.asked += 1
        return self._start(book, book.optuna.ask())

    def report(self, assignment: Assignment, progress: Progress) -> bool:
        """Records an evaluation; True if the trial is to be stopped.

        A trial that was resumed reports again what is known; only its newest report decides, and
        one that has done all its steps is let finish.
        """
        book = self.books[assignment.study.id]
        running = book.running[assignment.trial]
        if progress.note and progress.note != (running.progress and running.progress.note):
            log.warning("%s: %s", assignment.trial, progress.note)
        running.progress = progress
        assert progress.value is not None
        known = self._storage.get_trial(running.trial_id).intermediate_values
        if progress.step not in known:
            self._storage.set_trial_intermediate_value(
                running.trial_id, progress.step, progress.value
            )
            if self._storage.get_trial(running.trial_id).user_attrs.get(FAILURES):
                self._storage.set_trial_user_attr(running.trial_id, FAILURES, 0)
        elif progress.step < max(known):
            return False
        if progress.step >= self._parts[book.study.dataset].training.steps:
            return False
        assert book.optuna is not None
        return self._pruners[book.study.dataset].prune(
            book.optuna, self._storage.get_trial(running.trial_id)
        )

    def finish(self, assignment: Assignment, progress: Progress) -> None:
        """A trial came to its end, completed or diverged, and has written its rows."""
        assert progress.state is not None
        self._end(assignment, progress.state, progress.reason, progress.value)

    def prune(self, assignment: Assignment) -> None:
        """A trial was stopped because others do better; writes its row."""
        running = self.books[assignment.study.id].running[assignment.trial]
        step = running.progress.step if running.progress else 0
        reason = f"{self._sweep.search.scheduler}: behind other trials at step {step}"
        self._write_row(running, "pruned", reason)
        self._end(assignment, "pruned", reason, None)

    def lose(self, assignment: Assignment, reason: str, counts: bool) -> None:
        """An attempt at a trial came to no end: it will be handed out again, before anything new.

        If it has failed more often than it may without getting any further, it is recorded as
        failed instead; `counts`: whether this is such a failure. One that had written its row has
        ended, whatever came after.
        """
        running = self.books[assignment.study.id].running[assignment.trial]
        row = tables.read_trial(self._folder, assignment.trial)
        if row is not None:
            self._end(assignment, row["state"], row["reason"], row["objective"])
            return
        known = self._storage.get_trial(running.trial_id).user_attrs
        failures = known.get(FAILURES, 0) + counts
        if failures > self._sweep.search.max_failures:
            self.fail(assignment, reason)
            return
        if counts:
            self._storage.set_trial_user_attr(running.trial_id, FAILURES, failures)
        book = self.books[assignment.study.id]
        del book.running[assignment.trial]
        self._orphans.append((book, running.trial_id, running.progress))

    def fail(self, assignment: Assignment, reason: str) -> None:
        """A trial crashed more often than it may; writes its row."""
        self._write_row(self.books[assignment.study.id].running[assignment.trial], "failed", reason)
        self._end(assignment, "failed", reason, None)

    def is_running(self, assignment: Assignment) -> bool:
        return assignment.trial in self.books[assignment.study.id].running

    def tidy(self) -> None:
        """Puts away what drivers and workers left that died, or that wrote after their time.

        To be called while no trial is being carried out.
        """
        there = {*self._folder.list(TRIALS), *self._folder.list(EVALUATIONS)}
        for book in self.books.values():
            if book.done and any(f"{trial}.parquet" in there for trial in book.trials()):
                self._compact(book)
        keep_only(self._folder, [book.leading for book in self.books.values() if book.leading])
        self._folder.delete_partials()

    @property
    def left(self) -> int:
        """Trials still to hand out."""
        return len(self._orphans) + sum(max(b.budget - b.asked, 0) for b in self.books.values())

    def _book(self, study: Study) -> Book:
        one = self._parts[study.dataset]
        return Book(study, study_space(one, study.algorithm), budget(one, study.algorithm))

    def _begin(self, book: Book, new: bool) -> optuna.Study:
        """Makes or loads the Optuna study and queues what it tries first and has not queued yet."""
        name, pruner = book.study.id, self._pruners[book.study.dataset]
        if new:
            study = optuna.create_study(
                storage=self._storage, study_name=name, direction="maximize", pruner=pruner
            )
        else:
            study = optuna.load_study(storage=self._storage, study_name=name, pruner=pruner)
        if self._sweep.search.sampler == "grid":
            points = grid(book.space)
            seed = seed_hash(self._sweep.search.seed, book.study.id)
            first = samplers.shuffled(points, seed)[: book.budget]
        else:
            first = first_settings(self._parts[book.study.dataset], book.study.algorithm)
        for setting in first:
            study.enqueue_trial(setting, skip_if_exists=True)
        return study

    def _start(self, book: Book, trial: optuna.Trial) -> Assignment:
        values = self._values(book, trial)
        self._storage.flush()  # before a worker writes anything under this number
        assignment = Assignment(book.study, trial.number, values)
        book.running[assignment.trial] = Running(assignment, trial._trial_id)
        return assignment

    def _values(self, book: Book, trial: optuna.Trial) -> dict[str, Value]:
        search, study_id = self._sweep.search, book.study.id
        seed = seed_hash(search.seed, study_id, trial.number)
        trial.study.sampler = samplers.build(
            search.sampler, seed, seed_hash(search.seed, study_id), search.trials
        )
        try:
            return {name: suggest(trial, name, range_) for name, range_ in book.space.items()}
        except OSError:
            raise
        except Exception:
            # A model that cannot be fitted must not end a sweep of days.
            log.exception("sampler %s failed in %s; drawn at random", search.sampler, study_id)
            trial.study.sampler = samplers.build("random", seed, seed, search.trials)
            return {name: suggest(trial, name, range_) for name, range_ in book.space.items()}

    def _write_row(self, running: Running, state: str, reason: str) -> None:
        row = trial_row(self._sweep, running.assignment, running.progress, state, reason)
        tables.write_trial(self._folder, row, self._hp_types)

    def _end(
        self, assignment: Assignment, state: str, reason: str | None, value: float | None
    ) -> None:
        """Tells Optuna of a trial whose row is written, in this order: see `_adopt`."""
        book = self.books[assignment.study.id]
        running, overtaken = book.running.pop(assignment.trial), book.leading
        self._tell(book, running.trial_id, assignment.number, state, reason, value)
        delete_checkpoints(self._folder, assignment)
        if self._sweep.search.keep_weights != "none":
            for trial in {overtaken, assignment.trial} - {book.leading, None}:
                delete_weights(self._folder, str(trial))
        if book.done:
            self._compact(book)

    def _tell(
        self,
        book: Book,
        trial_id: int,
        number: int,
        state: str,
        reason: str | None,
        value: float | None,
    ) -> None:
        assert book.optuna is not None
        self._storage.set_trial_user_attr(trial_id, STATE, state)
        if reason:
            self._storage.set_trial_user_attr(trial_id, REASON, reason)
        if state == "completed":
            book.optuna.tell(number, value)
        else:
            # Samplers rank a pruned trial behind the completed ones: the right place for a setting
            # that diverged, which they would suggest again if it were reported as failed.
            ended = TrialState.FAIL if state == "failed" else TrialState.PRUNED
            book.optuna.tell(number, state=ended)
        self._count(book, number, state, value)

    def _compact(self, book: Book) -> None:
        try:
            self._storage.flush()  # a trial without a part is not looked for in the whole
            compact(self._folder, book.study.id, book.trials())
        except UserError as error:
            # Nothing is lost: whoever reads the tables is told the same.
            log.warning("the tables of %s stay in parts: %s", book.study.id, error)

    def _count(self, book: Book, number: int, state: str, value: float | None) -> None:
        book.ended[state] += 1
        if state == "completed" and value is not None:
            book.leader = max(book.leader or (value, number), (value, number))

    def _adopt(self) -> None:
        """Takes over what is in the storage.

        A trial ends by writing its row and then being told to Optuna. One that is running there
        and has a row was cut off in between: only the telling is left to do.
        """
        begun = {study.study_name for study in self._storage.get_all_studies()}
        for book in self.books.values():
            if book.study.id not in begun:
                continue
            book.optuna = self._begin(book, new=False)
            for trial in book.optuna.get_trials(deepcopy=False):
                if trial.state == TrialState.WAITING:
                    continue
                book.asked += 1
                state = state_of(trial)
                if state is not None:
                    self._count(book, trial.number, state, trial.value)
                    continue
                row = tables.read_trial(self._folder, f"{book.study.id}.{trial.number}")
                if row is None:
                    self._orphans.append((book, trial._trial_id, None))
                else:
                    ended = row["state"], row["reason"], row["objective"]
                    self._tell(book, trial._trial_id, trial.number, *ended)


def grace_steps(one: OneDataset) -> int:
    """Steps before which no trial of a dataset is stopped."""
    training, search = one.training, one.search
    if search.grace_steps is not None:
        return search.grace_steps
    return pruners.default_grace(training.steps, training.evaluate_every, search.reduction_factor)
