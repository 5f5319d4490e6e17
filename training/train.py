"""One training run, from first step to held-out score."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from datasets.domain_dataset import DomainDataset
from training.backends import backends
from training.evaluation import Evaluation, Score
from training.run import Run
from training.trainer import Best, Checkpoint, Trainer

__all__ = ["Checkpoint", "TrainResult", "Trainer", "train"]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: its evaluations in order, and the step of the one that speaks for it.

    That is the best one, and with averaging the last, which is of the averaged weights and stands
    beside that of the latest ones. Held-out scores stand in it, and without averaging at the last
    step too. state `diverged`: the loss stopped being a finite number; `reason` says when.
    """

    state: Literal["completed", "diverged"]
    reason: str
    evaluations: tuple[Evaluation, ...]
    best_step: int | None
    validation: float | None
    steps: int
    seconds: float


def train(
    run: Run,
    dataset: DomainDataset,
    report: Callable[[Evaluation], None],
    save: Callable[[Callable[[], Checkpoint]], None] | None = None,
    resume: Checkpoint | None = None,
) -> TrainResult:
    """Trains, evaluating every `run.evaluate_every` steps and after the last.

    `report` gets each evaluation of the source domains (with `run.evaluations == "all"` the
    held-out domain's too); those before a resume are reported again. Before it, `save` gets a
    function that makes a checkpoint which includes it. Whatever either raises ends the run and
    passes through. The held-out domain is scored once at the end, with the best and with the last
    weights, or with the averaged ones. An average that more steps would not change ends the run as
    completed; the evaluation that says so is in the result only, so that nothing stops the run
    where it stops by itself.

    Raises ValueError as Trainer does.
    """
    with backends(run.tf32, run.deterministic):
        trainer = Trainer(run, dataset)
        if resume is not None:
            trainer.restore(resume)
            for evaluation in trainer.evaluations[: -1 if trainer.dead else None]:
                report(evaluation)
        while not trainer.over:
            start = trainer.step
            if not _train_interval(trainer):
                between = f"between steps {start} and {trainer.step}"
                return _result(trainer, f"the loss stopped being finite {between}")
            if save is not None:
                save(trainer.checkpoint)
            if not trainer.dead:
                report(trainer.evaluations[-1])
        return _result(trainer)


def _train_interval(trainer: Trainer) -> bool:
    """Trains to the next evaluation and evaluates; False if the loss left the finite numbers."""
    run, began = trainer.run, time.perf_counter() - trainer.seconds
    end = min(trainer.step - trainer.step % run.evaluate_every + run.evaluate_every, run.steps)
    total = torch.zeros((), device=trainer.device)
    trainer.learn()
    while trainer.step < end:
        total += trainer.train_one()
    scores = _source_scores(trainer)
    trainer.seconds = time.perf_counter() - began
    if not _finite(total, scores):
        return False
    evaluation = Evaluation(trainer.step, scores, trainer.seconds)
    trainer.evaluations.append(evaluation)
    if trainer.average is not None:
        trainer.average.evaluated(evaluation.validation_loss)
    elif trainer.best is None or evaluation.validation > trainer.best.validation:
        kept = [tensor.clone() for tensor in trainer.tensors()]
        trainer.best = Best(evaluation.step, evaluation.validation, kept)
    return True


def _source_scores(trainer: Trainer) -> tuple[Score, ...]:
    """What selection needs of the source domains, or everything if the run asks for it."""
    everything = trainer.run.evaluations == "all"
    return trainer.scores(lambda p: everything or (p.role == "source" and p.split == "out"))


def _finite(total: Tensor, scores: tuple[Score, ...]) -> bool:
    losses = torch.tensor([score.loss for score in scores if score.role == "source"])
    return bool(total.isfinite()) and bool(losses.isfinite().all())


def _result(trainer: Trainer, diverged: str = "") -> TrainResult:
    """The result of a run that is over; `diverged` says why it ended early."""
    if trainer.average is None:
        evaluations = _with_flatness(trainer, _with_held_out(trainer, last=not diverged))
        best_step = trainer.best.step if trainer.best else None
        validation = trainer.best.validation if trainer.best else None
    elif diverged:
        evaluations, best_step, validation = tuple(trainer.evaluations), None, None
    else:
        averaged = _averaged(trainer)
        evaluations = (*trainer.evaluations, averaged)
        best_step, validation = averaged.step, averaged.validation
    return TrainResult(
        "diverged" if diverged else "completed",
        diverged,
        evaluations,
        best_step,
        validation,
        trainer.step,
        trainer.seconds,
    )


def _with_held_out(trainer: Trainer, last: bool) -> tuple[Evaluation, ...]:
    """The evaluations, with held-out scores at the best step and, if `last`, at the last."""
    if trainer.run.evaluations == "all" or trainer.best is None:
        return tuple(trainer.evaluations)
    held_out = {}
    if last:
        held_out[trainer.step] = trainer.scores(lambda p: p.role == "held_out")
    if trainer.best.step not in held_out:
        trainer.load_tensors(trainer.best.tensors)
        held_out[trainer.best.step] = trainer.scores(lambda p: p.role == "held_out")
    return tuple(
        Evaluation(e.step, e.scores + held_out.get(e.step, ()), e.seconds)
        for e in trainer.evaluations
    )


def _with_flatness(trainer: Trainer, evaluations: tuple[Evaluation, ...]) -> tuple[Evaluation, ...]:
    """The evaluations, with the flatness at the best weights in the best one."""
    if trainer.run.flatness == "none" or trainer.best is None:
        return evaluations
    trainer.load_tensors(trainer.best.tensors)
    measured = trainer.scores_and_flatness()
    return tuple(
        replace(e, scores=_merged(e.scores, measured)) if e.step == trainer.best.step else e
        for e in evaluations
    )


def _merged(scores: tuple[Score, ...], more: tuple[Score, ...]) -> tuple[Score, ...]:
    """Scores with others put in the place of those of the same split of the same domain."""
    found = {(score.domain, score.split): score for score in (*scores, *more)}
    return tuple(found.values())


def _averaged(trainer: Trainer) -> Evaluation:
    """Scores of the averaged weights, held-out domain included."""
    began = time.perf_counter() - trainer.seconds
    trainer.load_average()
    scores = _source_scores(trainer)
    trainer.seconds = time.perf_counter() - began
    if trainer.run.evaluations != "all":
        scores += trainer.scores(lambda p: p.role == "held_out")
    if trainer.run.flatness != "none":
        scores = _merged(scores, trainer.scores_and_flatness())
    return Evaluation(trainer.step, scores, trainer.seconds, "average")
