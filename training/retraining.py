"""A second stage on all images of the source domains, as long as validation made the first.

DomainBed's train_autolr at b93c22a, of ERM++ (Teterwak et al. 2023, arXiv 2304.01973).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from datasets.domain_dataset import DomainDataset
from training.checkpoint import Checkpoint, Interrupted
from training.computation import backends
from training.evaluation import Evaluation
from training.result import TrainResult, correct_of, state_of
from training.run import Run
from training.schedules import Plateau
from training.start import begin_from, start_of
from training.trainer import Trainer


@dataclass(frozen=True)
class SecondStage:
    """What a second stage follows.

    run: of both stages. first: what came of the first, and its `plateau`, if lr followed one.
    ended: the checkpoint at its end. resume: that of the second stage, if it was interrupted.
    """

    run: Run
    first: TrainResult
    plateau: Plateau | None
    ended: Checkpoint
    resume: Checkpoint | None

    @property
    def steps(self) -> int:
        """How long it trains: as the first did until its selected step.

        With an average, to the end of the first. Where a plateau ended that, one interval less: its
        last rate is 0, and nothing would be trained at it.
        """
        if self.plateau is not None and self.plateau.ended:
            return (len(self.plateau.factors) - 1) * self.run.evaluate_every
        return self.first.best_step or self.first.steps


def retrained(
    second: SecondStage,
    dataset: DomainDataset,
    save: Callable[[Callable[[], Checkpoint]], None],
    leaving: Callable[[], bool],
    keep: bool,
) -> TrainResult:
    """Trains a new model, from a start of its own, on the images that validated before, too.

    It has no validation: the result has that of the first stage beside the held-out scores of the
    second, in an evaluation of `retrained` weights. save, leaving: as of `train`. keep: whether the
    result has the weights.

    Raises Interrupted when it leaves.
    """
    run, first = replace(second.run, images="all", retrain="none"), second.first
    start = None if second.resume is not None else start_of(run, dataset, leaving)
    with backends(run.tf32, run.deterministic):
        trainer = Trainer(run, dataset)
        if second.plateau is not None:
            trainer.plateau = Plateau(replayed=second.plateau.factors)
        if second.resume is not None:
            trainer.restore(second.resume)
        elif start is not None:
            begin_from(trainer.model, start)
            trainer.seconds, trainer.passes = start.seconds, start.passes
        if not _train(trainer, second, save, leaving):
            return replace(
                first,
                state="diverged",
                reason=f"the loss of the second stage stopped being finite by step {trainer.step}",
                best_step=None,
                validation=None,
                seconds=first.seconds + trainer.seconds,
                passes=first.passes + trainer.passes,
                correct={},
            )
        if trainer.average is not None:
            trainer.load_average()
        selected = next(e for e in first.evaluations[::-1] if e.step == first.best_step)
        held_out = trainer.scores(lambda part: part.role == "held_out")
        spent = first.seconds + trainer.seconds, first.passes + trainer.passes
        scores = (*selected.source_out(), *held_out)
        evaluation = Evaluation(trainer.step, scores, spent[0], "retrained", spent[1])
        return replace(
            first,
            evaluations=(*first.evaluations, evaluation),
            best_step=trainer.step,
            seconds=spent[0],
            passes=spent[1],
            weights=state_of(trainer) if keep else None,
            correct=correct_of(trainer),
        )


def _train(
    trainer: Trainer,
    second: SecondStage,
    save: Callable[[Callable[[], Checkpoint]], None],
    leaving: Callable[[], bool],
) -> bool:
    """Takes the steps of the second stage; False if the loss is no longer finite."""

    def checkpoint() -> Checkpoint:
        return second.ended | {"second": trainer.checkpoint()}

    every = trainer.run.evaluate_every
    while trainer.step < second.steps:
        stays = trainer.train_on(every, second.steps, leaving)
        interval = trainer.step % every == 0
        if stays:
            if not trainer.loss.isfinite() or not trainer.weights.flat.isfinite().all():
                return False
            trainer.loss.zero_()
            if interval and trainer.plateau is not None:
                trainer.plateau.evaluated(0.0)
        if interval or not stays:
            save(checkpoint)
        if not stays:
            raise Interrupted(f"asked to leave at step {trainer.step} of the second stage")
    return True
