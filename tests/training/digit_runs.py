"""Short runs on the digits: what comes of them, and what tests compare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch

import datasets
from datasets.domain_dataset import DomainDataset
from training.checkpoint import from_bytes, to_bytes
from training.evaluation import Evaluation
from training.run import Run
from training.train import Checkpoint, TrainResult, train

DIGITS = datasets.load("RotatedDigits")
# What is scored of a run without 30, on the way and at the end.
NEEDED = [(name, "source", "out") for name in ("0", "15", "45", "60", "75")]
HELD_OUT = [("30", "held_out", "in"), ("30", "held_out", "out")]


def quiet(evaluation: Evaluation) -> None:
    """A report that nobody reads."""


class Trained(NamedTuple):
    """What comes of a run."""

    result: TrainResult
    reported: list[Evaluation]
    saved: list[Checkpoint]


def trained(run: Run, dataset: DomainDataset = DIGITS, **options: Any) -> Trained:
    reported: list[Evaluation] = []
    saved: list[Checkpoint] = []
    result = train(run, dataset, reported.append, lambda make: saved.append(make()), **options)
    return Trained(result, reported, saved)


def reread(checkpoint: Checkpoint) -> Checkpoint:
    """As another process finds it, with whatever random state that happens to have."""
    torch.default_generator.manual_seed(checkpoint["step"])
    return from_bytes(to_bytes(checkpoint))


def roles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    return [(score.domain, score.role, score.split) for score in evaluation.scores]


def without_seconds(result: TrainResult) -> list[Evaluation]:
    return [replace(evaluation, seconds=0.0) for evaluation in result.evaluations]
