"""Folds that have ended, kept for whoever needs them again.

A fold without the domains i and j is one of a trial of i's study and one of a trial of j's, where
both have the same setting and seed, as published settings and the points of a grid have: who needs
it second takes the scores of the first. Two that are at it at the same time both compute it, and
come to the same numbers. A trial that was killed finds its own here.

The folds of a dataset, model, algorithm and seed are deleted when all their studies have ended.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from search.run.run_folder import FOLDS, RunFolder
from search.study.study import Study
from training.evaluation import Evaluation, Score
from training.run import Run


class SharedFolds:
    """The folds of the studies that differ in their held-out domain alone."""

    def __init__(self, folder: RunFolder, study: Study) -> None:
        self._folder = folder
        self._group = group(study)

    def read(self, run: Run) -> tuple[str, list[Evaluation]] | None:
        """The trial that carried the fold out, and what it found; None if there is none to read."""
        try:
            content = self._folder.read_bytes(self._name(run))
            rows = pq.read_table(io.BytesIO(content)).to_pylist()
        except (FileNotFoundError, pa.ArrowInvalid):  # a damaged one is carried out again
            return None
        evaluations: dict[int, Evaluation] = {}
        for row in rows:
            score = Score(
                row["domain"], "left_out", "in", row["accuracy"], row["loss"], row["count"]
            )
            known = evaluations.get(row["step"])
            evaluations[row["step"]] = Evaluation(
                row["step"],
                (*(known.scores if known else ()), score),
                row["seconds"],
                passes=row["passes"],
            )
        return rows[0]["trial"], list(evaluations.values())

    def write(self, run: Run, trial: str, evaluations: Sequence[Evaluation]) -> None:
        """Keeps a fold that `trial` has carried out."""
        rows = [
            {
                "trial": trial,
                "step": evaluation.step,
                "domain": score.domain,
                "accuracy": score.accuracy,
                "loss": score.loss,
                "count": score.count,
                "seconds": evaluation.seconds,
                "passes": evaluation.passes,
            }
            for evaluation in evaluations
            for score in evaluation.scores
        ]
        stream = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), stream)
        self._folder.write_bytes(self._name(run), bytes(stream.getvalue()))

    def _name(self, run: Run) -> str:
        return f"{FOLDS}/{self._group}/{_key(run)}.parquet"


def group(study: Study) -> str:
    """What studies have in common that may share folds, as a name."""
    return replace(study, held_out="").id


def delete_folds(folder: RunFolder, study: Study) -> None:
    folder.delete(f"{FOLDS}/{group(study)}")


def _key(run: Run) -> str:
    """Of everything that the numbers of a fold depend on; the same for both of its studies."""
    values = run.as_dict() | {"held_out": run.unseen, "left_out": None, "root": None}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
