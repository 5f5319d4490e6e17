"""Results of finished folds, so that no fold is trained twice.

The fold without domains i and j belongs to a trial of i's study and to a trial of j's study with
the same setting and seed; first trials, random settings and grid points occur in both. The trial
that needs it second reads the scores of the first. If both train it at the same time, they get the
same numbers. A trial that was killed finds its own folds here.

The folds of a dataset, model, algorithm and seed are deleted when all of their studies have ended.
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

STARTING = ("start", "start_steps", "start_lr", "start_batch_size", "trains")


class SharedFolds:
    """The finished folds of the studies that differ only in their held-out domain."""

    def __init__(self, folder: RunFolder, study: Study) -> None:
        self._folder = folder
        self._group = group(study)

    def read(self, run: Run) -> tuple[str, list[Evaluation]] | None:
        """The trial that trained the fold, and its evaluations; None if there are none."""
        try:
            content = self._folder.read_bytes(self._name(run))
            rows = pq.read_table(io.BytesIO(content)).to_pylist()
        except (FileNotFoundError, pa.ArrowInvalid):  # a damaged one is trained again
            return None
        evaluations: dict[int, Evaluation] = {}
        for row in rows:
            score = Score(
                row["domain"],
                "left_out",
                "in",
                row["accuracy"],
                row["loss"],
                row["count"],
                ece=row.get("ece"),  # earlier commits did not measure it
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
        """Writes the evaluations of a fold that `trial` has trained."""
        rows = [
            {
                "trial": trial,
                "step": evaluation.step,
                "domain": score.domain,
                "accuracy": score.accuracy,
                "loss": score.loss,
                "count": score.count,
                "ece": score.ece,
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
    """The name that studies which may share folds have in common."""
    return replace(study, held_out="").id


def delete_folds(folder: RunFolder, study: Study) -> None:
    """Deletes the folds that a study shares with others."""
    folder.delete(f"{FOLDS}/{group(study)}")


def _key(run: Run) -> str:
    """A digest of everything that the fold's numbers depend on; swapping i and j keeps it."""
    values = run.as_dict() | {"held_out": run.unseen, "left_out": None, "root": None}
    if run.start == "model":  # the digests of earlier versions, which had no other
        values = {name: value for name, value in values.items() if name not in STARTING}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
