"""Trainings that trials share, so that none is done twice: finished folds, and starts.

The fold without domains i and j belongs to a trial of i's study and to a trial of j's study with
the same setting and seed; first trials, random settings and grid points occur in both. The folds of
a dataset, model, algorithm and seed are deleted when all of their studies have ended.

A start by linear probing depends on the dataset, the model, the domains that are not trained on and
the seed, and not on the algorithm or the hyperparameters: all trials of such studies share it.
Starts stay in the run for `rerun` and `export`.

The trial that needs one second reads what the first has written. Trials that need it at the same
time each train it, with the same numbers; to wait for each other would not be sooner. A trial that
was killed finds its own here.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import models
from search.run.run_folder import FOLDS, STARTS, RunFolder
from search.run.table_files import to_parquet
from search.study.folds import Fold, best_mean, visible_fold
from search.study.plan import TrialSpec
from search.study.study import Study
from training.checkpoint import TornCheckpoint, from_bytes, to_bytes
from training.evaluation import Evaluation, Score
from training.run import Run
from training.start import Start, changed, probe_of

OF_SCORE = ("domain", "accuracy", "loss", "count", "ece")  # in the file of a fold
STARTING = ("start", "start_steps", "start_lr", "start_batch_size", "trains")


def read_fold(folder: RunFolder, study: Study, run: Run) -> tuple[str, list[Evaluation]] | None:
    """The trial that trained a fold, and its evaluations; None if there are none."""
    try:
        content = folder.read_bytes(_fold_file(study, run))
    except FileNotFoundError:
        return None
    try:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
        evaluations = []
        for step, group in groupby(rows, key=lambda row: row["step"]):
            own = list(group)
            # Earlier commits did not measure `ece`.
            known = [{name: row.get(name) for name in OF_SCORE} for row in own]
            scores = tuple(Score(role="left_out", split="in", **each) for each in known)
            evaluations.append(Evaluation(step, scores, own[0]["seconds"], passes=own[0]["passes"]))
        return rows[0]["trial"], evaluations
    except (OSError, pa.ArrowException, LookupError):  # a damaged one is trained again
        return None


def write_fold(
    folder: RunFolder, study: Study, run: Run, trial: str, evaluations: Sequence[Evaluation]
) -> None:
    """Writes the evaluations of a fold that `trial` has trained."""
    rows = [
        {
            "trial": trial,
            "step": evaluation.step,
            **{name: getattr(score, name) for name in OF_SCORE},
            "seconds": evaluation.seconds,
            "passes": evaluation.passes,
        }
        for evaluation in evaluations
        for score in evaluation.scores
    ]
    folder.write_bytes(_fold_file(study, run), to_parquet(pa.Table.from_pylist(rows)))


class TrialFolds:
    """The finished folds of a trial: those that it trained, and those of other trials.

    steps, seconds, passes: their cost to this trial; a fold that another trial trained is free.
    """

    def __init__(self, folder: RunFolder, spec: TrialSpec) -> None:
        self._folder = folder
        self._spec = spec
        self.ended: list[Fold] = []
        self.steps = 0
        self.seconds = 0.0
        self.passes = 0.0

    @property
    def best(self) -> tuple[float | None, int | None]:
        """The best score over the finished folds, and the step that has it."""
        return best_mean(self.ended)

    @property
    def images(self) -> int:
        """The number of images that the score was measured on."""
        return sum(fold.evaluations[0].scores[0].count for fold in self.ended)

    def take(self, run: Run) -> bool:
        """Adds a fold that was trained before; False if there is none."""
        found = read_fold(self._folder, self._spec.study, run)
        if found is None:
            return False
        trial, evaluations = found
        self._add(run, evaluations, own=trial == self._spec.trial)
        return True

    def add(self, run: Run, evaluations: Sequence[Evaluation]) -> None:
        """Adds a fold that this trial has trained, and writes it for other trials."""
        write_fold(self._folder, self._spec.study, run, self._spec.trial, evaluations)
        self._add(run, evaluations, own=True)

    def _add(self, run: Run, evaluations: Sequence[Evaluation], own: bool) -> None:
        self.ended.append(visible_fold(run, evaluations))
        if own:
            last = evaluations[-1]
            self.steps += last.step
            self.seconds += last.seconds
            self.passes += last.passes


def sharing(study: Study) -> str:
    """The name that studies which may share folds have in common: all but the held-out domain."""
    return replace(study, held_out="").id


def delete_folds(folder: RunFolder, study: Study) -> None:
    """Deletes the folds that a study shares with others."""
    folder.delete(f"{FOLDS}/{sharing(study)}")


def read_start(folder: RunFolder, run: Run) -> tuple[str, Start] | None:
    """The trial that trained the start of a training run, and the start; None if there is none."""
    if run.start == "model":
        return None
    try:
        found = from_bytes(folder.read_bytes(_start_file(run)))
        start = Start(found["tensors"], found["seconds"], found["passes"])
        whole = _changed(run.model) <= start.tensors.keys()
        return (found["trial"], start) if whole else None
    # A damaged one is trained again.
    except (FileNotFoundError, TornCheckpoint, LookupError, AttributeError):
        return None


def write_start(folder: RunFolder, run: Run, trial: str, start: Start) -> Start:
    """Writes a start that `trial` has trained; returns another trial's if that was sooner."""
    known = read_start(folder, run)
    if known is not None:
        return known[1]
    folder.write_bytes(_start_file(run), to_bytes({"trial": trial, **vars(start)}))
    return start


@cache
def _changed(model: str) -> frozenset[str]:
    """The names of what a start of the model holds."""
    try:
        return frozenset(changed(models.outline(model)))
    except ValueError:  # it takes images of another size alone
        return frozenset()


def _fold_file(study: Study, run: Run) -> str:
    values = _on_same_domains(run)
    if run.start == "model":  # the digests of earlier versions, which had no other
        values = {name: value for name, value in values.items() if name not in STARTING}
    return f"{FOLDS}/{sharing(study)}/{_digest(values)}.parquet"


def _start_file(run: Run) -> str:
    # What a later version adds to a run does not change the name.
    usual = {field.name: field.default for field in fields(Run)}
    values = _on_same_domains(probe_of(run)).items()
    return f"{STARTS}/{_digest({name: value for name, value in values if value != usual[name]})}.pt"


def _on_same_domains(run: Run) -> dict[str, Any]:
    """What the numbers of a run depend on. The order of the domains that it leaves out is not."""
    return run.as_dict() | {"held_out": run.unseen, "left_out": None, "root": None}


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
