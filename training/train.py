"""One training run, from first step to held-out score."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from datasets.domain_dataset import DomainDataset
from models.tuning import resting
from training.checkpoint import Checkpoint, Interrupted
from training.computation import backends
from training.evaluation import Evaluation, Score
from training.result import TrainResult, correct_of, state_of
from training.retraining import SecondStage, retrained
from training.run import Run
from training.start import Start, begin_from, start_of
from training.trainer import Best, Trainer

__all__ = ["Checkpoint", "Interrupted", "TrainResult", "Trainer", "train"]


def train(  # noqa: PLR0913 - three of them are what the caller wants of the result
    run: Run,
    dataset: DomainDataset,
    report: Callable[[Evaluation], None],
    save: Callable[[Callable[[], Checkpoint]], None] | None = None,
    resume: Checkpoint | None = None,
    leaving: Callable[[], bool] = lambda: False,
    *,
    start: Start | None = None,
    keep: Literal["none", "best", "last"] | int = "none",
    held_out_at: int | None = None,
    prefers: Callable[[Evaluation, Evaluation], bool] | None = None,
) -> TrainResult:
    """Trains, evaluating every `run.evaluate_every` steps and after the last.

    `report` gets each evaluation of the source domains (the held-out domain's too if
    `run.evaluations` says so); those before a resume are reported again. Before it, `save` gets a
    function that makes a checkpoint which includes it. Whatever either raises ends the run and
    passes through. If `leaving` says so before a step, `save` is called and the run ends. The held-
    out domain is scored once at the end, with the best and with the last weights, or with the
    averaged ones, and on the way at the step `held_out_at`. An average that more steps would not
    change ends the run as completed; the evaluation that says so is in the result only, so that
    nothing stops the run where it stops by itself. `start`: the classifier that the run starts from
    (training.start); trained first if it is needed and not given, which the result's seconds and
    passes do not include. `prefers(new, old)`: whether an evaluation takes the place of an earlier
    one as the one that speaks for the run; by default if it validates better. `keep`: which weights
    are in the result, those that speak for the run (best), the last, or those of a step that is
    evaluated after any resume; a run that diverged has none. A fold (Run.left_out) has no best
    step, and no weights that speak for it. Run.retrain adds a second stage (training.retraining).

    Raises ValueError as Trainer does, and Interrupted when it leaves.
    """
    if start is None and resume is None:
        start = start_of(run, dataset, leaving)
    offer = save or (lambda _: None)
    with backends(run.tf32, run.deterministic):
        trainer = Trainer(run, dataset)
        _begin(trainer, start, resume, report)
        if start is not None and not start.finite:
            return _result(trainer, "the loss of the linear probe stopped being finite")
        kept = None
        while not trainer.over:
            begin = trainer.step - trainer.step % run.evaluate_every
            if not trainer.train_on(run.evaluate_every, run.steps, leaving):
                offer(trainer.checkpoint)
                raise Interrupted(f"asked to leave at step {trainer.step}")
            if not _evaluate(trainer, held_out_at, prefers):
                between = f"between steps {begin} and {trainer.step}"
                return _result(trainer, f"the loss stopped being finite {between}")
            if trainer.step == keep:
                kept = state_of(trainer)
            offer(trainer.checkpoint)
            if not trainer.dead:
                report(trainer.evaluations[-1])
        if run.retrain == "none" or run.steps == 0:
            return _result(trainer, keep=keep, kept=kept)
        ended = trainer.checkpoint()
        result = _result(trainer)
    again = SecondStage(run, result, trainer.plateau, ended, (resume or {}).get("second"))
    del trainer  # its network and optimizer would lie beside the second stage's
    return retrained(again, dataset, offer, leaving, keep != "none")


def _begin(
    trainer: Trainer,
    start: Start | None,
    resume: Checkpoint | None,
    report: Callable[[Evaluation], None],
) -> None:
    """Puts a trainer at its start, or where the checkpoint was taken and reports what it holds."""
    if resume is not None:
        trainer.restore(resume)
    elif start is not None:
        begin_from(trainer.model, start)
    for evaluation in trainer.evaluations[: -1 if trainer.dead else None]:
        report(evaluation)


def _evaluate(
    trainer: Trainer,
    held_out_at: int | None,
    prefers: Callable[[Evaluation, Evaluation], bool] | None,
) -> bool:
    """Scores the weights as they stand; False if the loss is no longer finite."""
    began = time.perf_counter() - trainer.seconds
    fold = trainer.run.left_out is not None
    scores = _fold_scores(trainer) if fold else _source_scores(trainer)
    trainer.seconds = time.perf_counter() - began
    total = trainer.loss.clone()
    trainer.loss.zero_()
    if not _finite(total, scores) or (fold and not trainer.weights.flat.isfinite().all()):
        return False
    if trainer.step == held_out_at:
        scores += _rest_of_held_out(trainer, scores)
    evaluation = Evaluation(trainer.step, scores, trainer.seconds, passes=trainer.passes)
    trainer.evaluations.append(evaluation)
    if trainer.average is None and not fold:
        _keep(trainer, evaluation, prefers)
    if not fold:
        trainer.evaluated(evaluation, began)
    return True


def _keep(
    trainer: Trainer,
    evaluation: Evaluation,
    prefers: Callable[[Evaluation, Evaluation], bool] | None,
) -> None:
    """Copies the weights if the evaluation is the best so far, or preferred to those before."""
    better = trainer.best is None or evaluation.validation > trainer.best.validation
    old = None if trainer.preferred is None else _at(trainer, trainer.preferred.step)
    preferred = prefers is not None and (old is None or prefers(evaluation, old))
    if better or preferred:
        kept = [tensor.clone() for tensor in trainer.tensors()]
        best = Best(evaluation.step, evaluation.validation, kept)
        trainer.best = best if better else trainer.best
        trainer.preferred = best if preferred else trainer.preferred


def _at(trainer: Trainer, step: int) -> Evaluation:
    return next(evaluation for evaluation in trainer.evaluations if evaluation.step == step)


def _source_scores(trainer: Trainer) -> tuple[Score, ...]:
    """What selection needs of the source domains, and what else the run asks for."""
    everything = trainer.run.evaluations == "all"
    roles = ["source", *(["held_out"] if trainer.run.evaluations == "held_out" else [])]
    return trainer.scores(lambda p: everything or (p.role in roles and p.split == "out"))


def _fold_scores(trainer: Trainer) -> tuple[Score, ...]:
    """Of the two domains that are not trained on: the fold is one of either's study."""
    return trainer.scores(lambda p: p.role != "source" and p.split == "in")


def _finite(total: Tensor, scores: tuple[Score, ...]) -> bool:
    losses = torch.tensor([score.loss for score in scores if score.role == "source"])
    return bool(total.isfinite()) and bool(losses.isfinite().all())


def _result(
    trainer: Trainer,
    diverged: str = "",
    keep: str | int = "none",
    kept: dict[str, Tensor] | None = None,
) -> TrainResult:
    """The result of a run that is over; `diverged` says why it ended early."""
    last = state_of(trainer) if keep == "last" else kept
    if trainer.average is None:
        evaluations = _with_flatness(trainer, _with_held_out(trainer, last=not diverged))
        best_step = trainer.speaking.step if trainer.speaking else None
        validation = trainer.speaking.validation if trainer.speaking else None
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
        trainer.passes,
        _selected_state(trainer) if keep == "best" else last,
        resting(trainer.model),
        {} if diverged else correct_of(trainer),
    )


def _selected_state(trainer: Trainer) -> dict[str, Tensor]:
    """Of the averaged weights, which have been loaded, or of the best ones."""
    if trainer.average is None and trainer.speaking is not None:
        trainer.load_tensors(trainer.speaking.tensors)
    return state_of(trainer)


def _with_held_out(trainer: Trainer, last: bool) -> tuple[Evaluation, ...]:
    """The evaluations, with held-out scores at the best steps and, if `last`, at the last."""
    if trainer.run.evaluations == "all" or trainer.best is None:
        return tuple(trainer.evaluations)
    held_out = {}
    if last:
        held_out[trainer.step] = _rest_of_held_out(trainer, _at(trainer, trainer.step).scores)
    for best in (trainer.best, trainer.preferred):
        if best is not None and best.step not in held_out:
            trainer.load_tensors(best.tensors)
            held_out[best.step] = _rest_of_held_out(trainer, _at(trainer, best.step).scores)
    return tuple(
        replace(e, scores=e.scores + held_out.get(e.step, ())) for e in trainer.evaluations
    )


def _rest_of_held_out(trainer: Trainer, scores: tuple[Score, ...]) -> tuple[Score, ...]:
    """Scores of the held-out domain's splits that these scores lack."""
    scored = {s.split for s in scores if s.role == "held_out"}
    if len(scored) == 2:
        return ()
    return trainer.scores(lambda p: p.role == "held_out" and p.split not in scored)


def _with_flatness(trainer: Trainer, evaluations: tuple[Evaluation, ...]) -> tuple[Evaluation, ...]:
    """The evaluations, with the flatness at the best weights in the best one."""
    speaking = trainer.speaking
    if trainer.run.flatness == "none" or speaking is None:
        return evaluations
    trainer.load_tensors(speaking.tensors)
    measured = trainer.scores_and_flatness()
    return tuple(
        replace(e, scores=_merged(e.scores, measured)) if e.step == speaking.step else e
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
        scores = _merged(scores, trainer.scores(lambda p: p.role == "held_out"))
    if trainer.run.flatness != "none":
        scores = _merged(scores, trainer.scores_and_flatness())
    return Evaluation(trainer.step, scores, trainer.seconds, "average", trainer.passes)
