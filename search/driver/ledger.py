"""Who was asked what and how it went: all studies of a sweep, over one Optuna storage.

The ledger is the driver's view of the storage, which is the truth. Ray carries trials out; it is
told what to run and reports back, and may die at any time.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from datasets.splits import seed_hash
from search.driver import later_seeds, sharing, warm_start
from search.driver.budget_guard import BudgetGuard
from search.driver.first_trials import queue_first
from search.driver.later_seeds import LaterSeeds
from search.driver.pruning import Pruning
from search.driver.study_files import StudyFiles
from search.driver.study_record import Running, StudyRecord
from search.driver.termination import Terminator
from search.run import tables
from search.run.checkpoints import delete_checkpoints, delete_weights, keep_only_weights
from search.run.run_folder import RunFolder
from search.run.shared_folds import delete_folds, group
from search.run.storage import SweepStorage
from search.space.ranges import Value
from search.study import samplers
from search.study.plan import StudyPlan, TrialSpec
from search.study.samplers import suggest
from search.study.trial_attributes import FAILURES, REASON, STATE, state_of
from search.worker.trial_rows import Progress, trial_row, values_of

log = logging.getLogger("steppe")


class Ledger:
    """Hands out trials and records how they end.

    On opening, trials that a dead driver left running are put right: those that had written their
    row are told to Optuna, the others are handed out again before anything new.
    """

    def __init__(
        self, plans: Mapping[str, StudyPlan], folder: RunFolder, storage: SweepStorage
    ) -> None:
        common = next(iter(plans.values()))
        self._search = common.search
        self._hp_types = common.column_types
        self._folder = folder
        self._storage = storage
        self._orphans: deque[tuple[StudyRecord, int, Progress | None]] = deque()
        self._pruning = Pruning(plans.values(), storage)
        self._earlier = warm_start.recorded(folder)
        self.records = {name: StudyRecord(plan, plan.trials) for name, plan in plans.items()}
        self._sharing: defaultdict[str, list[StudyRecord]] = defaultdict(list)
        for record in self.records.values() if common.makes_folds else ():
            self._sharing[group(record.study)].append(record)
        self._later_seeds = LaterSeeds(
            self.records,
            self._search.seed_reduction,
            lambda record: tables.write_no_trials(folder, record.study.id, self._hp_types),
        )
        self._budget_guard = BudgetGuard(self._search, common.resources)
        self._terminator = Terminator(self._search, self.records)
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
        sharing.offer(record, self.records.values(), self._search.share)
        record.asked += 1
        return self._start(record, record.optuna.ask())

    def report(self, spec: TrialSpec, progress: Progress) -> bool:
        """Records an evaluation; True if the trial is to be stopped."""
        record = self.records[spec.study.id]
        running = record.running[spec.trial]
        if progress.note and progress.note != (running.progress and running.progress.note):
            log.warning("%s: %s", spec.trial, progress.note)
        running.progress = progress
        return self._pruning.stops(record, running, progress)

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
        if said and self._search.compare_at == "passes":
            where += f" ({said.passes:g} passes)"
        reason = f"{self._search.scheduler}: behind other trials {where}"
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
        if failures > self._search.max_failures:
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
        keep_only_weights(
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

    def _begin(self, record: StudyRecord, new: bool) -> optuna.Study:
        """Makes or loads the Optuna study and queues what it tries first and has not queued yet."""
        name, pruner = record.study.id, self._pruning.pruner(record)
        directions = [StudyDirection.MAXIMIZE] * len(self._search.objectives)
        if new:
            study = optuna.create_study(
                storage=self._storage, study_name=name, directions=directions, pruner=pruner
            )
        else:
            study = optuna.load_study(storage=self._storage, study_name=name, pruner=pruner)
        if record.after is not None:
            later_seeds.queue(record, record.after, study)
        else:
            queue_first(record, study, self._earlier.get(name, ()))
        return study

    def _start(self, record: StudyRecord, trial: optuna.Trial) -> TrialSpec:
        values = self._values(record, trial)
        self._storage.flush()  # before a worker writes anything under this number
        spec = record.plan.trial(trial.number, values)
        record.running[spec.trial] = Running(spec, trial._trial_id)
        return spec

    def _values(self, record: StudyRecord, trial: optuna.Trial) -> dict[str, Value]:
        search, study_id = self._search, record.study.id
        space = record.plan.space
        seed = seed_hash(search.seed, study_id, trial.number)
        trial.study.sampler = samplers.build(
            search.sampler, seed, seed_hash(search.seed, study_id), search.trials, space
        )
        try:
            return {name: suggest(trial, name, range_) for name, range_ in space.items()}
        except OSError:
            raise
        except Exception:
            # A model that cannot be fitted must not end a sweep of days.
            log.exception("sampler %s failed in %s; drawn at random", search.sampler, study_id)
            trial.study.sampler = samplers.build("random", seed, seed, search.trials, space)
            return {name: suggest(trial, name, range_) for name, range_ in space.items()}

    def _write_row(self, running: Running, state: str, reason: str) -> None:
        row = trial_row(running.spec, running.progress, state, reason)
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
        if self._search.keep_weights != "none":
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
