"""Carries out one trial. The only place where training and Ray meet."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import torch
from ray import tune

from datasets.domain_dataset import DomainDataset
from search.run import tables
from search.run.checkpoints import TrialCheckpoints, run_number, write_weights
from search.run.columns import FROZEN
from search.run.run_folder import RunFolder
from search.run.shared_runs import TrialFolds, read_start, write_start
from search.study.folds import folds_of
from search.study.plan import StudyPlan, TrialSpec
from search.sweep.objectives import objectives_of_run, preference
from search.sweep.search_keys import FREEZE_THAW
from search.worker.actor import GPU_SHARE, at_work, preempted, spec_of
from search.worker.limits import HangLimit, MemoryLimit, begin_measuring_gpu, measured_on_gpu
from search.worker.node import check_device, check_node, check_weights, load_dataset
from search.worker.trial_rows import Progress, evaluation_rows, trial_row
from training.computation import device_name
from training.evaluation import Evaluation
from training.run import Run
from training.start import Start, linear_probe
from training.train import Checkpoint, Interrupted, TrainResult, train


def run_trial(config: dict[str, Any], plans: Mapping[str, StudyPlan], folder: RunFolder) -> None:
    """Carries out the trial of a `config` (see `config_of`), from its checkpoint if there is one.

    Every evaluation is written to the run folder before it is reported, and the trial's row before
    its end is, so that nothing depends on Ray's memory. Held-out scores go to the folder only,
    never into a report.
    """
    spec = spec_of(config, plans)
    torch.set_num_threads(max(int(spec.plan.resources.cpu), 1))
    Trial(folder, spec, config.get(GPU_SHARE, spec.plan.resources.gpus)).carry_out()


class Frozen(Exception):
    """Ends an attempt at a trial that is to wait, once its checkpoint is written."""


class Trial:
    """One attempt at a trial."""

    def __init__(self, folder: RunFolder, spec: TrialSpec, gpus: float = 0.0) -> None:
        plan = spec.plan
        self._plan = plan
        self._hang = HangLimit(plan.search.hang_seconds)
        # Waiting for a store is not hanging.
        self._folder = folder = folder.calling_on_wait(self._hang.alive)
        self._spec = spec
        self._run = spec.run
        self._evaluations: list[Evaluation] = []
        self._objectives = objectives_of_run(plan.search.objectives)
        self._best: Evaluation | None = None  # by the first objective
        self._checkpoints = TrialCheckpoints(folder, spec)
        self._memory = MemoryLimit(plan.resources.memory)
        self._gpus = gpus
        begin_measuring_gpu(self._run.device)
        self._checkpoint: Callable[[], Checkpoint] | None = None  # makes one of this moment
        self._written = 0  # evaluations up to this step are in the tables
        self._folds = TrialFolds(folder, spec)
        self._current: dict[str, Any] = {}  # which of its runs the trial is at, for checkpoints
        self._own_starts: dict[int, Start] = {}  # those that it has trained itself, by run
        self._started = time.time()
        self._saved = time.monotonic()

    def carry_out(self) -> None:
        """Trains, evaluates and writes everything that the trial leaves in the run folder."""
        with at_work(), self._hang.watching(), suppress(Frozen):
            self._carry_out()

    def _carry_out(self) -> None:
        check_node(self._folder)
        check_device(self._run.device)
        check_weights(self._folder, self._run.model, self._run.weights)
        dataset = load_dataset(self._plan.dataset, self._folder)
        resume = self._checkpoints.read()
        if resume is not None:
            self._started = resume["started"]
        result = self._carry_out_folds(dataset, resume) or self._carry_out_own_run(dataset, resume)
        self._check_not_ended()
        self._write_evaluations(result.evaluations)
        if result.weights is not None:
            # A file that stands alone is a model's start too (model.weights).
            shared = result.resting if self._plan.search.most_kept != 1 else ()
            write_weights(self._folder, self._spec.trial, result.weights, shared)
        if result.correct and result.best_step is not None:
            columns, name, step = self._plan.columns, self._spec.trial, result.best_step
            tables.write_correct(self._folder, columns, name, step, result.correct)
        progress = self._progress(result.steps, result.seconds, result.passes, result)
        row = trial_row(self._spec, progress, result.state, result.reason)
        tables.write_trial(self._folder, row, self._plan.column_types)
        tune.report(asdict(progress))

    def _carry_out_folds(
        self, dataset: DomainDataset, resume: Checkpoint | None
    ) -> TrainResult | None:
        """Trains the folds, which come before the trial's own run; returns one that diverged."""
        if not self._plan.makes_folds:
            return None
        domains = [domain.name for domain in dataset.domains]
        for number, run in enumerate(folds_of(self._run, domains)):
            if not self._folds.take(run):
                own, start = self._begin(number, run, dataset, resume)
                result = train(
                    run,
                    dataset,
                    self._report_fold,
                    self._save,
                    own,
                    self._must_leave,
                    start=start,
                )
                if result.state == "diverged":
                    reason = f"in the fold without {run.left_out}: {result.reason}"
                    return replace(result, reason=reason, evaluations=())
                self._folds.add(run, result.evaluations)
            else:
                self._known_start(number, run)
            self._checkpoint = None  # the fold is kept for itself
            # After a resume from a later run, its rows are in the tables already.
            if resume is None or run_number(resume) <= number:
                self._check_not_ended()
                self._write_evaluations(())
            progress = self._progress(0, 0.0, 0.0)
            self._report_progress(replace(progress, folds=number + 1, images=self._folds.images))
        return None

    def _carry_out_own_run(self, dataset: DomainDataset, resume: Checkpoint | None) -> TrainResult:
        number = len(self._folds.ended)
        own, start = self._begin(number, self._run, dataset, resume)
        if own is not None:
            self._written = max((step for step, *_ in own["evaluations"]), default=0)
        kept, step = self._plan.search.keep_weights, self._folds.best[1]
        return train(
            self._run,
            dataset,
            self._report,
            self._save,
            own,
            self._must_leave,
            start=start,
            keep="last" if kept == "last" else "none" if kept == "none" else "best",
            held_out_at=step,
            prefers=preference(self._plan.search.objectives),
        )

    def _begin(
        self, number: int, run: Run, dataset: DomainDataset, resume: Checkpoint | None
    ) -> tuple[Checkpoint | None, Start | None]:
        """Begins one of its runs: its checkpoint, if it was past its start, and the start.

        resume: the trial's checkpoint, perhaps of another run. A start is trained unless a trial
        has done so.
        """
        self._current = {"run": number, "left_out": run.left_out}
        at = None if resume is None else (run_number(resume), resume.get("left_out"))
        own = resume if at == (number, run.left_out) else None
        probing = own is None or own.get("probing", False)
        start = self._known_start(number, run)
        if run.start == "linear-probe" and start is None and probing:
            self._current["probing"] = True
            trained = linear_probe(run, dataset, self._save, own, self._must_leave)
            del self._current["probing"]
            self._own_starts[number] = trained
            start = write_start(self._folder, run, self._spec.trial, trained)
        return (None if probing else own), start

    def _known_start(self, number: int, run: Run) -> Start | None:
        """The start of one of its runs, if a trial has trained it; noted if it was this one."""
        known = read_start(self._folder, run)
        if known is None:
            return None
        if known[0] == self._spec.trial:
            self._own_starts[number] = known[1]
        return known[1]

    def _report_fold(self, evaluation: Evaluation) -> None:
        """Reports an evaluation of a fold: its cost, as its score is not known before its end."""
        self._check_not_ended()
        self._report_progress(
            self._progress(evaluation.step, evaluation.seconds, evaluation.passes)
        )

    def _report(self, evaluation: Evaluation) -> None:
        self._evaluations.append(evaluation)
        if self._best is None or self._objectives[0].prefers(evaluation, self._best):
            self._best = evaluation
        if evaluation.step > self._written:  # else a resumed trial would remove later rows
            self._check_not_ended()
            self._write_evaluations(self._evaluations)
        self._report_progress(
            self._progress(evaluation.step, evaluation.seconds, evaluation.passes)
        )

    def _report_progress(self, progress: Progress) -> None:
        with self._hang.suspended():  # the driver may be busy with other trials
            tune.report(asdict(progress))
        if self._plan.search.scheduler != FREEZE_THAW:
            return
        if tables.frozen_at(self._folder, self._spec.trial) == progress.step:
            if self._checkpoint is not None:
                self._write_checkpoint(self._checkpoint)
                self._checkpoints.keep_newest()
            tune.report(asdict(replace(progress, state=FROZEN)))
            raise Frozen

    def _save(self, checkpoint: Callable[[], Checkpoint]) -> None:
        self._hang.alive()
        self._checkpoint = checkpoint
        due = time.monotonic() - self._saved >= self._plan.training.checkpoint_seconds
        if due or preempted():
            self._write_checkpoint(checkpoint)

    def _write_checkpoint(self, checkpoint: Callable[[], Checkpoint]) -> None:
        self._checkpoints.write(checkpoint() | {"started": self._started} | self._current)
        self._saved = time.monotonic()

    def _check_not_ended(self) -> None:
        """Raises Interrupted if a later attempt, which this must not overwrite, has ended it."""
        study, trial = self._spec.study.id, self._spec.trial
        if tables.has_ended(self._folder, study, trial):
            raise Interrupted(f"another attempt at {trial} has ended it")

    def _must_leave(self) -> bool:
        self._memory.check()
        return preempted()

    def _write_evaluations(self, evaluations: Sequence[Evaluation]) -> None:
        runs = [(fold.evaluations, fold.left_out) for fold in self._folds.ended]
        tables.write_evaluations(
            self._folder,
            self._plan.sweep,
            self._spec.study.id,
            self._spec.trial,
            [row for run in [*runs, (evaluations, None)] for row in evaluation_rows(*run)],
        )

    def _progress(
        self, step: int, seconds: float, passes: float, result: TrainResult | None = None
    ) -> Progress:
        best, starts = self._best, self._own_starts.values()
        if result is not None:  # averaged weights have evaluations that were not reported
            best = next((e for e in result.evaluations[::-1] if e.step == result.best_step), None)
        values = [] if best is None else [objective.value(best) for objective in self._objectives]
        value, second = [*values, None, None][:2]
        best_step = None if best is None else best.step
        if self._plan.makes_folds:
            value, best_step = self._folds.best
        return Progress(
            step=self._folds.steps + step,
            value=value,
            best_step=best_step,
            seconds=seconds + self._folds.seconds + sum(own.seconds for own in starts),
            passes=passes + self._folds.passes + sum(own.passes for own in starts),
            started=self._started,
            node=socket.gethostname(),
            device=device_name(self._run.device),
            state=None if result is None else result.state,
            reason=None if result is None else result.reason or None,
            note="; ".join(self._checkpoints.notes) or None,
            second=second,
            images=0 if best is None else self._objectives[0].images(best),
            **measured_on_gpu(self._run.device, self._gpus),
        )
