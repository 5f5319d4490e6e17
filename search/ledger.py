"""Who was asked what and how it went: all studies of a sweep, over one Optuna storage.

The ledger is the driver's view of the storage, which is the truth. Ray carries trials out; it is
told what to run and reports back, and may die at any time.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass, field

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from datasets.splits import seed_hash
from search import pruners, samplers, tables
from search.assignment import Assignment
from search.checkpoints import delete_checkpoint
from search.config import Sweep
from search.distributions import suggest
from search.run_folder import RunFolder
from search.space import Range, Value
from search.studies import Study, studies
from search.study_space import budget, column_types, first_settings, grid, study_space
from search.trial_rows import Progress, trial_row
from search.trial_state import REASON, STATE, state_of

log = logging.getLogger("steppe")


@dataclass
class Running:
    """A trial that is being carried out, and what it said last."""

    assignment: Assignment
    trial_id: int
    progress: Progress | None = None


@dataclass
class Book:
    """One study: its space, its Optuna study once it has begun, and a count of its trials."""

    study: Study
    space: dict[str, Range]
    budget: int
    optuna: optuna.Study | None = None
    asked: int = 0
    running: dict[str, Running] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    best: float | None = None

    @property
    def open(self) -> bool:
        """Whether more trials may be asked for."""
        return self.asked < self.budget

    @property
    def done(self) -> bool:
        return not self.open and not self.running


class Ledger:
    """Hands out trials and records how they end.

    On opening, trials that a dead driver left running are put right: those that had written their
    row are told to Optuna, the others are handed out again before anything new.
    """

    def __init__(self, sweep: Sweep, folder: RunFolder, storage: BaseStorage) -> None:
        self._sweep = sweep
        self._folder = folder
        self._storage = storage
        self._hp_types = column_types(sweep)
        self._orphans: deque[tuple[Book, int]] = deque()
        self._put_back: Counter[str] = Counter()
        self._pruner = pruners.build(
            sweep.search.scheduler,
            sweep.training.steps,
            grace_steps(sweep),
            sweep.search.reduction_factor,
        )
        self.books = {study.id: self._book(study) for study in studies(sweep)}
        self._adopt()

    def next(self) -> Assignment | None:
        """A trial to carry out; None if every study has asked for all of its trials.

        Adopted trials come first. Then the study with the fewest trials at work, and among those
        with the fewest so far, so that each sampler sees most of its results before it suggests.
        """
        if self._orphans:
            book, trial_id = self._orphans.popleft()
            assert book.optuna is not None
            return self._start(book, optuna.trial.Trial(book.optuna, trial_id))
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
        running.progress = progress
        assert progress.value is not None
        known = self._storage.get_trial(running.trial_id).intermediate_values
        if progress.step not in known:
            self._storage.set_trial_intermediate_value(
                running.trial_id, progress.step, progress.value
            )
        elif progress.step < max(known):
            return False
        if progress.step >= self._sweep.training.steps:
            return False
        assert book.optuna is not None
        return self._pruner.prune(book.optuna, self._storage.get_trial(running.trial_id))

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

    def fail(self, assignment: Assignment, reason: str) -> None:
        """A trial crashed more often than it may; writes its row."""
        self._write_row(self.books[assignment.study.id].running[assignment.trial], "failed", reason)
        self._end(assignment, "failed", reason, None)

    def put_back(self, assignment: Assignment) -> bool:
        """Takes back a trial that lost its worker before it began, to hand it out again.

        False, and nothing done, if that happened to it more often than a trial may fail.
        """
        self._put_back[assignment.trial] += 1
        if self._put_back[assignment.trial] > self._sweep.search.max_failures:
            return False
        book = self.books[assignment.study.id]
        self._orphans.append((book, book.running.pop(assignment.trial).trial_id))
        return True

    def is_running(self, assignment: Assignment) -> bool:
        return assignment.trial in self.books[assignment.study.id].running

    @property
    def left(self) -> int:
        """Trials still to hand out."""
        return len(self._orphans) + sum(max(b.budget - b.asked, 0) for b in self.books.values())

    def _book(self, study: Study) -> Book:
        space = study_space(self._sweep, study.algorithm)
        return Book(study, space, budget(self._sweep, study.algorithm))

    def _begin(self, book: Book, new: bool) -> optuna.Study:
        """Makes or loads the Optuna study and queues what it tries first and has not queued yet."""
        name = book.study.id
        if new:
            study = optuna.create_study(
                storage=self._storage, study_name=name, direction="maximize", pruner=self._pruner
            )
        else:
            study = optuna.load_study(storage=self._storage, study_name=name, pruner=self._pruner)
        if self._sweep.search.sampler == "grid":
            points = grid(book.space)
            seed = seed_hash(self._sweep.search.seed, book.study.id)
            first = samplers.shuffled(points, seed)[: book.budget]
        else:
            first = first_settings(self._sweep, book.study.algorithm)
        for setting in first:
            study.enqueue_trial(setting, skip_if_exists=True)
        return study

    def _start(self, book: Book, trial: optuna.Trial) -> Assignment:
        values = self._values(book, trial)
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
        running = book.running.pop(assignment.trial)
        self._tell(book, running.trial_id, assignment.number, state, reason, value)
        delete_checkpoint(self._folder, assignment)

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
        self._count(book, state, value)

    def _count(self, book: Book, state: str, value: float | None) -> None:
        book.ended[state] += 1
        if state == "completed" and value is not None:
            book.best = value if book.best is None else max(book.best, value)

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
                    self._count(book, state, trial.value)
                    continue
                row = tables.read_trial(self._folder, f"{book.study.id}.{trial.number}")
                if row is None:
                    self._orphans.append((book, trial._trial_id))
                else:
                    ended = row["state"], row["reason"], row["objective"]
                    self._tell(book, trial._trial_id, trial.number, *ended)


def grace_steps(sweep: Sweep) -> int:
    """Steps before which no trial of the sweep is stopped."""
    training, search = sweep.training, sweep.search
    if search.grace_steps is not None:
        return search.grace_steps
    return pruners.default_grace(training.steps, training.evaluate_every, search.reduction_factor)
