"""What a Ray worker does with one trial. The only place where training and Ray meet."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import torch
from ray import tune

import datasets
from datasets.domain_dataset import DomainDataset
from search import tables
from search.assignment import Assignment, run_of
from search.checkpoints import read_checkpoint, write_checkpoint
from search.config import Dataset, Sweep
from search.run_folder import RunFolder
from search.studies import Study
from search.study_space import column_types
from search.trial_rows import (
    Progress,
    evaluation_rows,
    trial_row,
)
from training.evaluation import Evaluation
from training.run import Run
from training.train import Checkpoint, TrainResult, train


def run_trial(config: dict[str, Any], sweep: Sweep, folder: RunFolder) -> None:
    """Carries out the assignment in `config`, from its checkpoint if there is one.

    Every evaluation is written to the run folder before it is reported, and the trial's row before
    its end is, so that whatever Ray forgets can be read there. Held-out scores go to the folder
    only, never into a report.
    """
    assignment = assignment_of(config)
    torch.set_num_threads(max(int(sweep.resources.cpu), 1))
    run = run_of(sweep, assignment)
    Trial(sweep, folder, assignment, run).carry_out()


class Trial:
    """One attempt at a trial."""

    def __init__(self, sweep: Sweep, folder: RunFolder, assignment: Assignment, run: Run) -> None:
        self._sweep = sweep
        self._folder = folder
        self._assignment = assignment
        self._run = run
        self._evaluations: list[Evaluation] = []
        self._best: Evaluation | None = None
        self._started = time.time()
        self._saved = time.monotonic()

    def carry_out(self) -> None:
        resume = read_checkpoint(self._folder, self._assignment)
        if resume is not None:
            self._started = resume["started"]
        dataset = load_dataset(self._sweep.dataset)
        result = train(self._run, dataset, self._report, self._save, resume)
        self._write_evaluations(result.evaluations)
        progress = self._progress(result.steps, result.seconds, result)
        row = trial_row(self._sweep, self._assignment, progress, result.state, result.reason)
        tables.write_trial(self._folder, row, column_types(self._sweep))
        tune.report(asdict(progress))

    def _report(self, evaluation: Evaluation) -> None:
        self._evaluations.append(evaluation)
        if self._best is None or evaluation.validation > self._best.validation:
            self._best = evaluation
        self._write_evaluations(self._evaluations)
        tune.report(asdict(self._progress(evaluation.step, evaluation.seconds)))

    def _save(self, checkpoint: Callable[[], Checkpoint]) -> None:
        if time.monotonic() - self._saved >= self._sweep.training.checkpoint_seconds:
            started = {"started": self._started}
            write_checkpoint(self._folder, self._assignment, checkpoint() | started)
            self._saved = time.monotonic()

    def _write_evaluations(self, evaluations: Any) -> None:
        tables.write_evaluations(
            self._folder,
            self._sweep.name,
            self._assignment.study.id,
            self._assignment.trial,
            evaluation_rows(evaluations),
        )

    def _progress(self, step: int, seconds: float, result: TrainResult | None = None) -> Progress:
        best = self._best
        value, best_step = (None, None) if best is None else (best.validation, best.step)
        if result is not None:  # of averaged weights, it is none of those that were reported
            value, best_step = result.validation, result.best_step
        return Progress(
            step=step,
            value=value,
            best_step=best_step,
            seconds=seconds,
            started=self._started,
            node=socket.gethostname(),
            device=device_name(self._run.device),
            state=None if result is None else result.state,
            reason=None if result is None else result.reason or None,
        )


def assignment_of(config: dict[str, Any]) -> Assignment:
    return Assignment(Study(**config["study"]), config["number"], config["values"])


def config_of(assignment: Assignment) -> dict[str, Any]:
    """The assignment as Ray carries it; `assignment_of` undoes this."""
    return {
        "study": asdict(assignment.study),
        "number": assignment.number,
        "values": dict(assignment.values),
    }


@cache
def load_dataset(given: Dataset) -> DomainDataset:
    """The dataset, mapped once by each worker; the driver has compared its files with the cache."""
    return datasets.load(given.name, given.root, given.size, given.allow, recheck=False)


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device
