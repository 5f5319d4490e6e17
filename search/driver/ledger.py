"""Who was asked what and how it went: all studies of a sweep, over one Optuna storage.

The ledger is the driver's view of the storage, which is the truth. Ray carries trials out; it is
told what to run and reports back, and may die at any time.
"""

from __future__ import annotations

import copy
import logging
import math
from collections import defaultdict, deque
from collections.abc import Sequence

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from datasets.splits import seed_hash
from search.driver import sharing
from search.driver.budget_guard import BudgetGuard
from search.driver.first_trials import FirstTrials
from search.driver.later_seeds import LaterSeeds
from search.driver.report_steps import step_of, unit, whole
from search.driver.study_files import StudyFiles
from search.driver.study_record import Running, StudyRecord
from search.driver.termination import Terminator
from search.run import tables
from search.run.checkpoints import delete_checkpoints
from search.run.kept_weights import delete_weights, keep_only
from search.run.run_folder import RunFolder
from search.run.shared_folds import delete_folds, group
from search.run.storage import SweepStorage
from search.space.distributions import suggest
from search.space.ranges import Value
from search.study import pruners, samplers
from search.study.folds import makes_folds
from search.study.plan import TrialSpec
from search.study.studies import Study, studies
from search.study.study_space import budget, column_types, study_space
from search.study.trial_attributes import FAILURES, IMAGES, JUDGED, REASON, STATE, state_of
from search.sweep.objectives import best_so_far
from search.sweep.per_dataset import OneDataset, by_dataset
from search.sweep.schema import Sweep
from search.worker.trial_rows import Progress, trial_row, values_of

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
        self._orphans: deque[tuple[StudyRecord, int, Progress | None]] = deque()
        self._parts = by_dataset(sweep)
        self._pruners = {
            (dataset, algorithm): pruners.build(
                one.search.scheduler,
                int(whole(one) * unit(one, algorithm)),
                int(grace_steps(one) * unit(one, algorithm)),
                one.search.reduction_factor,
            )
            for dataset, one in self._parts.items()
            for algorithm in sweep.algorithms
        }
        self._first = FirstTrials(sweep, folder)
        self.records = {study.id: self._book(study) for study in studies(sweep)}
        self._sharing: defaultdict[str, list[StudyRecord]] = defaultdict(list)
        for record in self.records.values() if makes_folds(sweep.search) else ():
            self._sharing[group(record.study)].append(record)
        self._later_seeds = LaterSeeds(
            self.records,
            sweep.seeds,
            sweep.search.seed_reduction,
            lambda record: tables.write_none(folder, record.study.id, self._hp_types),
        )
        self._budget_guard = BudgetGuard(sweep)
        self._terminator = Terminator(sweep, self.records)
        self._files = StudyFiles(folder, storage)
        self._adopt()
        self._terminator.recall()
        self._budget_guard.recall(folder)
        self._close()
        self.tidy()

    def next(self) -> TrialSpec | None:
        """A trial to carry out; None if no study may ask for another.

        Adopted trials come first. Then the study with the fewest trials at work, and among those
        with the fewest so far, so that each sampler sees most of its results before it suggests.
        """
        if self._orphans:
            record, trial_id, progress = self._orphans.popleft()
            assert record.optuna is not None
            spec = self._start(record, optuna.trial.Trial(record.optuna, trial_id))
            record.running[spec.trial].progress = progress
            return spec
        self._close()
        chosen = self._choose()
        return None if chosen is None else self._ask(chosen)

    def _choose(self) -> StudyRecord | None:
        while waiting := [record for record in self.records.values() if record.open]:
            record = min(waiting, key=lambda record: (len(record.running), record.asked))
            if not self._terminator.stops(record):
                return record
        return None

    def _ask(self, record: StudyRecord) -> TrialSpec:
        self._files.part(record)
        if record.optuna is None:
            record.optuna = self._begin(record, new=True)
        sharing.offer(record, self.records.values(), self._sweep.search.share)
        record.asked += 1
        return self._start(record, record.optuna.ask())

    def report(self, spec: TrialSpec, progress: Progress) -> bool:
        """Records an evaluation; True if the trial is to be stopped.

        A trial that was resumed reports again what is known; only its newest report decides, and
        one that has done all its steps is let finish. With folds it is the report at the end of one
        that counts, at as many steps as folds have, and the value may fall from one to the next.
        """
        record = self.records[spec.study.id]
        running = record.running[spec.trial]
        if progress.note and progress.note != (running.progress and running.progress.note):
            log.warning("%s: %s", spec.trial, progress.note)
        running.progress = progress
        one = self._parts[record.study.dataset]
        step = step_of(one, progress)
        if step is None:
            return False
        assert progress.value is not None
        known = self._storage.get_trial(running.trial_id).intermediate_values
        if step not in known:
            if progress.images and (not known or progress.folds):  # each fold brings more
                self._storage.set_trial_user_attr(running.trial_id, IMAGES, progress.images)
            # Optuna takes no such value of two objectives; TPE would take one of them for a rank.
            value = progress.value if len(one.search.objectives) == 1 else math.nan
            self._storage.set_trial_intermediate_value(running.trial_id, step, value)
            if self._storage.get_trial(running.trial_id).user_attrs.get(FAILURES):
                self._storage.set_trial_user_attr(running.trial_id, FAILURES, 0)
        elif step < max(known):
            return False
        trial = self._storage.get_trial(running.trial_id)
        if progress.folds is None and progress.step >= one.training.steps:
            return False
        if not best_so_far(one.search.objectives):
            # The best of them all, which pruners may go by, is not what the trial is worth.
            trial = copy.copy(trial)  # the storage's own
            trial.intermediate_values = {step: trial.intermediate_values[step]}
        return self._judge(record, trial, step)

    def _judge(self, record: StudyRecord, trial: FrozenTrial, step: int) -> bool:
        """What the pruner says, once: when the trial comes again, others have come further."""
        pruner = self._pruner(record)
        if isinstance(pruner, NopPruner):
            return False
        judged: Sequence[int] = trial.user_attrs.get(JUDGED, (-1, False))
        if judged[0] != step:
            assert record.optuna is not None
            judged = step, bool(pruner.prune(record.optuna, trial))
            self._storage.set_trial_user_attr(trial._trial_id, JUDGED, judged)
        return bool(judged[1])

    def finish(self, spec: TrialSpec, progress: Progress) -> None:
        """A trial came to its end, completed or diverged, and has written its rows."""
        assert progress.state is not None
        self._budget_guard.add_cost(spec.study.id, progress.seconds, progress.passes)
        self._end(spec, progress.state, progress.reason, progress.values)

    def prune(self, spec: TrialSpec) -> None:
        """A trial was stopped because others do better; writes its row."""
        running = self.records[spec.study.id].running[spec.trial]
        said = running.progress
        where = f"at step {said.step if said else 0}"
        if said and said.folds:
            where = "after 1 fold" if said.folds == 1 else f"after {said.folds} folds"
        if said and self._sweep.search.compare_at == "passes":
            where += f" ({said.passes:g} passes)"
        reason = f"{self._sweep.search.scheduler}: behind other trials {where}"
        self._write_row(running, "pruned", reason)
        self._end(spec, "pruned", reason)

    def lose(self, spec: TrialSpec, reason: str, counts: bool) -> None:
        """An attempt at a trial came to no end: it will be handed out again, before anything new.

        If it has failed more often than it may without getting any further, it is recorded as
        failed instead; `counts`: whether this is such a failure. One that had written its row has
        ended, whatever came after.
        """
        running = self.records[spec.study.id].running[spec.trial]
        row = tables.read_trial(self._folder, spec.trial)
        if row is not None:
            self._budget_guard.add_cost(spec.study.id, row["seconds"], row["passes"])
            self._end(spec, row["state"], row["reason"], values_of(row))
            return
        known = self._storage.get_trial(running.trial_id).user_attrs
        failures = known.get(FAILURES, 0) + counts
        if failures > self._sweep.search.max_failures:
            self.fail(spec, reason)
            return
        if counts:
            self._storage.set_trial_user_attr(running.trial_id, FAILURES, failures)
        record = self.records[spec.study.id]
        del record.running[spec.trial]
        self._orphans.append((record, running.trial_id, running.progress))

    def fail(self, spec: TrialSpec, reason: str) -> None:
        """A trial crashed more often than it may; writes its row."""
        self._write_row(self.records[spec.study.id].running[spec.trial], "failed", reason)
        self._end(spec, "failed", reason)

    def is_running(self, spec: TrialSpec) -> bool:
        return spec.trial in self.records[spec.study.id].running

    def tidy(self) -> None:
        """Puts away what drivers and workers left that died, or that wrote after their time.

        To be called while no trial is being carried out.
        """
        self._files.look(self.records.values())
        for record in self.records.values():
            if record.done:
                self._delete_folds(record)
        keep_only(
            self._folder, [record.leading for record in self.records.values() if record.leading]
        )
        self._folder.delete_partials()

    @property
    def left(self) -> int:
        """Trials still to hand out."""
        to_come = (
            record.max_trials - record.asked for record in self.records.values() if not record.full
        )
        return len(self._orphans) + sum(to_come)

    def _book(self, study: Study) -> StudyRecord:
        one = self._parts[study.dataset]
        return StudyRecord(study, study_space(one, study.algorithm), budget(one, study.algorithm))

    def _begin(self, record: StudyRecord, new: bool) -> optuna.Study:
        """Makes or loads the Optuna study and queues what it tries first and has not queued yet."""
        name, pruner = record.study.id, self._pruner(record)
        directions = [StudyDirection.MAXIMIZE] * len(self._sweep.search.objectives)
        if new:
            study = optuna.create_study(
                storage=self._storage, study_name=name, directions=directions, pruner=pruner
            )
        else:
            study = optuna.load_study(storage=self._storage, study_name=name, pruner=pruner)
        self._first.queue(record, study)
        return study

    def _pruner(self, record: StudyRecord) -> BasePruner:
        # What has earned another seed is worth a result on it: settings are compared over seeds.
        key = record.study.dataset, record.study.algorithm
        return NopPruner() if record.after else self._pruners[key]

    def _start(self, record: StudyRecord, trial: optuna.Trial) -> TrialSpec:
        values = self._values(record, trial)
        self._storage.flush()  # before a worker writes anything under this number
        spec = TrialSpec(record.study, trial.number, values)
        record.running[spec.trial] = Running(spec, trial._trial_id)
        return spec

    def _values(self, record: StudyRecord, trial: optuna.Trial) -> dict[str, Value]:
        search, study_id = self._sweep.search, record.study.id
        seed = seed_hash(search.seed, study_id, trial.number)
        trial.study.sampler = samplers.build(
            search.sampler, seed, seed_hash(search.seed, study_id), search.trials, record.space
        )
        try:
            return {name: suggest(trial, name, range_) for name, range_ in record.space.items()}
        except OSError:
            raise
        except Exception:
            # A model that cannot be fitted must not end a sweep of days.
            log.exception("sampler %s failed in %s; drawn at random", search.sampler, study_id)
            trial.study.sampler = samplers.build("random", seed, seed, search.trials, record.space)
            return {name: suggest(trial, name, range_) for name, range_ in record.space.items()}

    def _write_row(self, running: Running, state: str, reason: str) -> None:
        row = trial_row(self._sweep, running.spec, running.progress, state, reason)
        self._budget_guard.add_cost(row["study"], row.get("seconds"), row.get("passes"))
        tables.write_trial(self._folder, row, self._hp_types)

    def _end(
        self,
        spec: TrialSpec,
        state: str,
        reason: str | None,
        values: Sequence[float] = (),
    ) -> None:
        """Tells Optuna of a trial whose row is written, in this order: see `_adopt`."""
        record = self.records[spec.study.id]
        running, overtaken = record.running.pop(spec.trial), record.leading
        self._tell(record, running.trial_id, spec.number, state, reason, values)
        delete_checkpoints(self._folder, spec)
        if self._sweep.search.keep_weights != "none":
            for trial in {overtaken, spec.trial} - {record.leading, None}:
                delete_weights(self._folder, str(trial))
        if record.done:
            self._files.join(record)
            self._delete_folds(record)
            self._later_seeds.settle()

    def _close(self) -> None:
        """Notes which studies may spend no more, and what follows from it."""
        self._budget_guard.close(
            self.records, ((record, said) for record, _, said in self._orphans)
        )
        self._later_seeds.settle()

    def _tell(
        self,
        record: StudyRecord,
        trial_id: int,
        number: int,
        state: str,
        reason: str | None,
        values: Sequence[float],
    ) -> None:
        assert record.optuna is not None
        self._storage.set_trial_user_attr(trial_id, STATE, state)
        if reason:
            self._storage.set_trial_user_attr(trial_id, REASON, reason)
        if state == "completed":
            record.optuna.tell(number, values)
        else:
            # Samplers rank a pruned trial behind the completed ones: the right place for a setting
            # that diverged, which they would suggest again if it were reported as failed.
            ended = TrialState.FAIL if state == "failed" else TrialState.PRUNED
            record.optuna.tell(number, state=ended)
        self._count(record, number, state, values)

    def _delete_folds(self, record: StudyRecord) -> None:
        """Of studies that share them, once all have ended and none may go on."""
        sharing = self._sharing[group(record.study)]
        if sharing and all(other.done and not other.cut for other in sharing):
            delete_folds(self._folder, record.study)

    def _count(self, record: StudyRecord, number: int, state: str, values: Sequence[float]) -> None:
        record.ended[state] += 1
        if state == "completed" and values:
            record.leader = max(record.leader or (values[0], number), (values[0], number))

    def _adopt(self) -> None:
        """Takes over what is in the storage.

        A trial ends by writing its row and then being told to Optuna. One that is running there
        and has a row was cut off in between: only the telling is left to do.
        """
        begun = {study.study_name for study in self._storage.get_all_studies()}
        for record in self.records.values():
            if record.study.id not in begun:
                continue
            record.optuna = self._begin(record, new=False)
            for trial in record.optuna.get_trials(deepcopy=False):
                if trial.state == TrialState.WAITING:
                    continue
                record.asked += 1
                state = state_of(trial)
                if state is not None:
                    self._count(record, trial.number, state, trial.values or ())
                    continue
                row = tables.read_trial(self._folder, f"{record.study.id}.{trial.number}")
                if row is None:
                    self._orphans.append((record, trial._trial_id, None))
                else:
                    ended = row["state"], row["reason"], values_of(row)
                    self._tell(record, trial._trial_id, trial.number, *ended)


def grace_steps(one: OneDataset) -> int:
    """Steps before which no trial of a dataset is stopped."""
    training, search = one.training, one.search
    if makes_folds(search):
        return training.steps
    if search.grace_steps is not None:
        return search.grace_steps
    return pruners.default_grace(training.steps, training.evaluate_every, search.reduction_factor)
