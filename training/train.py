"""One training run, from first step to held-out score."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

import models
from datasets.batches import Batches
from datasets.domain_dataset import DomainDataset
from datasets.splits import seed_hash, split
from training import algorithms, optimizers
from training.draws import StepDraws, seed_dropout
from training.evaluation import Evaluation, Part, Score, evaluate
from training.passes import Passes
from training.run import Run
from training.schedules import Schedule
from training.update import Step, take_step
from training.weights import Weights

OWN = ("lr", "weight_decay", "dropout", "batch_size")

Checkpoint = dict[str, Any]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: its evaluations in order, and the step of the best one.

    state `diverged`: the loss stopped being a finite number; `reason` says when. Held-out scores
    stand in the evaluations of the best and of the last step.
    """

    state: Literal["completed", "diverged"]
    reason: str
    evaluations: tuple[Evaluation, ...]
    best_step: int | None
    validation: float | None
    steps: int
    seconds: float


@dataclass(frozen=True)
class Best:
    """The weights of the best evaluation so far: the first among equals."""

    step: int
    validation: float
    tensors: list[Tensor]


class Trainer:
    """A run in motion: what changes from step to step, and what is needed to change it."""

    def __init__(self, run: Run, dataset: DomainDataset) -> None:
        values = dict(run.hyperparameters)
        own = {name: values.pop(name) for name in OWN if name in values}
        self.run = run
        self.device = torch.device(run.device)
        torch.manual_seed(seed_hash(run.random_seed, "weights"))
        self.model = models.build(
            run.model, len(dataset.classes), dataset.image_shape, own.get("dropout", 0.0)
        ).to(self.device)
        self.weights = Weights(self.model)
        schedule = Schedule(run.rho_schedule, run.steps, run.rho_warmup, run.rho_floor)
        self.update = algorithms.build(run.algorithm, values, schedule)
        self.optimizer = optimizers.build(
            run.optimizer,
            self.weights.flat,
            float(own.get("lr", 5e-5)),
            float(own.get("weight_decay", 0.0)),
            run.momentum,
        )
        self.parts = _parts(run, dataset)
        sources = [p for p in self.parts if p.role == "source" and p.split == "in"]
        self.batches = Batches(
            [(p.domain, p.indices) for p in sources],
            int(own.get("batch_size", 32)),
            seed_hash(run.random_seed, "batches"),
            self.device,
        )
        self.memory: dict[str, Tensor] = {}
        self.step = 0
        self.seconds = 0.0
        self.evaluations: list[Evaluation] = []
        self.best: Best | None = None

    def train_one(self) -> Tensor:
        """One step; returns the loss [] of its first pass, not waiting for the device."""
        seed_dropout(self.run.random_seed, self.step, self.device)
        step = Step(
            number=self.step,
            passes=Passes(
                self.model,
                self.weights,
                self.batches(self.step),
                freeze_second=self.run.bn_second_pass == "frozen",
            ),
            weights=self.weights,
            draws=StepDraws(self.run.random_seed, self.step, self.device),
            memory=self.memory,
        )
        losses = take_step(self.update, step, self.optimizer)
        self.step += 1
        return losses[0]

    def scores(self, wanted: Callable[[Part], bool]) -> tuple[Score, ...]:
        return evaluate(self.model, [p for p in self.parts if wanted(p)], self.device)

    def tensors(self) -> list[Tensor]:
        """Weights and buffers, as they are now, not copied."""
        return [self.weights.flat, *self.model.buffers()]

    def load_tensors(self, tensors: list[Tensor]) -> None:
        for own, given in zip(self.tensors(), tensors, strict=True):
            own.copy_(given)

    def checkpoint(self) -> Checkpoint:
        """All that a resumed run needs, as tensors and plain values; training on leaves it be."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "tensors": [tensor.clone() for tensor in self.tensors()],
            "optimizer": {key: tensor.clone() for key, tensor in self.optimizer.state.items()},
            "memory": {key: tensor.clone() for key, tensor in self.memory.items()},
            "best": vars(self.best) if self.best else None,
            "evaluations": [
                (e.step, [tuple(vars(s).values()) for s in e.scores], e.seconds)
                for e in self.evaluations
            ],
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        self.step = checkpoint["step"]
        self.seconds = checkpoint["seconds"]
        self.load_tensors(checkpoint["tensors"])
        for key, own in self.optimizer.state.items():
            own.copy_(checkpoint["optimizer"][key])
        self.memory = {k: v.to(self.device, copy=True) for k, v in checkpoint["memory"].items()}
        best = checkpoint["best"]
        self.best = best and Best(
            best["step"], best["validation"], [t.to(self.device) for t in best["tensors"]]
        )
        self.evaluations = [
            Evaluation(step, tuple(Score(*score) for score in scores), seconds)
            for step, scores, seconds in checkpoint["evaluations"]
        ]


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
    weights.

    Raises ValueError for a hyperparameter that the algorithm lacks or an unknown name.
    """
    trainer = Trainer(run, dataset)
    if resume is not None:
        trainer.restore(resume)
        for evaluation in trainer.evaluations:
            report(evaluation)
    state, reason = "completed", ""
    while trainer.step < run.steps:
        start = trainer.step
        finite = _train_interval(trainer)
        if not finite:
            state = "diverged"
            reason = f"the loss stopped being finite between steps {start} and {trainer.step}"
            break
        if save is not None:
            save(trainer.checkpoint)
        report(trainer.evaluations[-1])
    evaluations = _with_held_out(trainer, last=state == "completed")
    return TrainResult(
        "completed" if state == "completed" else "diverged",
        reason,
        evaluations,
        trainer.best.step if trainer.best else None,
        trainer.best.validation if trainer.best else None,
        trainer.step,
        trainer.seconds,
    )


def _train_interval(trainer: Trainer) -> bool:
    """Trains to the next evaluation and evaluates; False if the loss left the finite numbers."""
    run, began = trainer.run, time.perf_counter() - trainer.seconds
    end = min(trainer.step - trainer.step % run.evaluate_every + run.evaluate_every, run.steps)
    total = torch.zeros((), device=trainer.device)
    trainer.model.train()
    while trainer.step < end:
        total += trainer.train_one()
    everything = run.evaluations == "all"
    scores = trainer.scores(lambda p: everything or (p.role == "source" and p.split == "out"))
    trainer.seconds = time.perf_counter() - began
    if not _finite(total, scores):
        return False
    evaluation = Evaluation(trainer.step, scores, trainer.seconds)
    trainer.evaluations.append(evaluation)
    if trainer.best is None or evaluation.validation > trainer.best.validation:
        kept = [tensor.clone() for tensor in trainer.tensors()]
        trainer.best = Best(evaluation.step, evaluation.validation, kept)
    return True


def _finite(total: Tensor, scores: tuple[Score, ...]) -> bool:
    losses = torch.tensor([score.loss for score in scores if score.role == "source"])
    return bool(total.isfinite()) and bool(losses.isfinite().all())


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


def _parts(run: Run, dataset: DomainDataset) -> list[Part]:
    """Both splits of every domain, which depend on the seed and the domain's index alone."""
    held_out = dataset.index(run.held_out)
    parts = []
    for index, domain in enumerate(dataset.domains):
        role: Literal["source", "held_out"] = "held_out" if index == held_out else "source"
        halves = split(len(domain), run.seed, index)
        if not len(halves.out):
            raise ValueError(
                f"domain {domain.name!r} of {dataset.name} has {len(domain)} samples, "
                f"too few to set a fifth aside for validation: give it at least 5"
            )
        parts.append(Part(domain, role, "in", halves.in_))
        parts.append(Part(domain, role, "out", halves.out))
    return parts
