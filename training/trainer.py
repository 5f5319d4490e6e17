"""A run in motion: its state, one step of it, and its way into a checkpoint and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor

from datasets.domain_dataset import DomainDataset
from models.network import freeze_batch_norm, running_statistics
from training import algorithms, averaging, optimizers
from training.anchor import anchor_state
from training.averaging.placing import in_place, put, show
from training.checkpoint import Checkpoint
from training.clipping import clipped
from training.computation import autocast, compiled, device_of
from training.draws import StepDraws, seed_dropout
from training.evaluation import Evaluation, Part, Score, evaluate
from training.flatness import with_flatness
from training.hyperparameters import hyperparameters_of
from training.networks import frozen_bits, networks, place
from training.passes import Passes
from training.run import Run, check_fold
from training.run_data import data_of, measure_statistics
from training.schedules import Plateau, schedules_of
from training.update import Step, take_step
from training.weights import Weights


@dataclass(frozen=True)
class Best:
    """The weights of the best evaluation so far, and what it validated at."""

    step: int
    validation: float
    tensors: list[Tensor]


class Trainer:
    """A run's state, which changes from step to step, and what is needed to change it.

    Raises ValueError for a hyperparameter that the algorithm lacks, an unknown name, a number out
    of range or a device that is not there.
    """

    def __init__(self, run: Run, dataset: DomainDataset) -> None:
        own = (values := hyperparameters_of(run)).own
        self.run = run
        self.device = device_of(run.device)
        self.lr_schedule, rho_schedule = schedules_of(run)
        update = algorithms.build(run.algorithm, values.algorithm, rho_schedule)
        self.update = update if run.clip_norm is None else clipped(update, run.clip_norm)
        dropout, shape = own.get("dropout", 0.0), dataset.image_shape
        self.model, original = networks(run, dataset, dropout, values.tuning, update.anchor)
        self.frozen = frozen_bits(self.model, original)
        place(run, self.device, self.model, original)
        self.weights = Weights(self.model)
        self.lr = float(own.get("lr", 5e-5))
        optimizer = partial(
            optimizers.build,
            run.optimizer,
            lr=self.lr,
            weight_decay=float(own.get("weight_decay", 0.0)),
            momentum=run.momentum,
            nesterov=run.nesterov,
            numbers=values.optimizer,
        )
        self.optimizer = optimizer(self.weights.flat, sizes=self.weights.sizes)
        self.anchor = anchor_state(update.anchor, self.model, original, shape, optimizer)
        self.statistics = [] if self.bn_rests else running_statistics(self.model)
        self.average = averaging.build(run.averaging, values.averaging)
        self.plateau = Plateau(run.lr_drop) if run.lr_schedule == "plateau" else None
        check_fold(run)
        self.parts, self.batches = data_of(
            run, dataset, self.model.colours, self.device, int(own.get("batch_size", 32))
        )
        self.memory: dict[str, Tensor] = {}
        self.loss = torch.zeros((), device=self.device)  # summed since the last evaluation
        self.step = 0
        self.seconds = 0.0
        self.passes = 0.0  # Passes.spent of all steps
        self.evaluations: list[Evaluation] = []
        self.best: Best | None = None  # by validation; the first among equals
        self.preferred: Best | None = None  # by whoever asked for the run, if they said
        if run.compile:
            self.learn()
            with autocast(run.precision, self.device):
                self.model.featurizer = compiled(self.model.featurizer, self.batches(0).x)

    @property
    def speaking(self) -> Best | None:
        """The weights that speak for the run so far; with averaging there are none yet."""
        return self.preferred or self.best

    @property
    def bn_rests(self) -> bool:
        """Whether batch norm's running statistics never change."""
        return self.run.bn == "frozen" or self.run.tuning == "head"

    @property
    def over(self) -> bool:
        """Whether all steps are done, or the run has ended by itself."""
        if self.run.steps == 0:  # it is evaluated all the same
            return bool(self.evaluations)
        return self.step >= self.run.steps or self.dead

    @property
    def dead(self) -> bool:
        """Whether it has ended by itself: more steps would not change the average, or rate is 0."""
        return any(own is not None and own.ended for own in (self.average, self.plateau))

    def learn(self) -> None:
        """The model as it is while it learns: dropout drops, and batch norm looks at the batch."""
        self.model.train()
        if self.run.bn == "frozen":
            freeze_batch_norm(self.model)

    def train_on(self, every: int, last: int, leaving: Callable[[], bool]) -> bool:
        """Trains to the next multiple of `every` steps, to step `last` at most; adds up the loss.

        False if it was told to leave before.
        """
        end = min(self.step - self.step % every + every, last)
        began = time.perf_counter() - self.seconds
        self.learn()
        stays = True
        while stays and self.step < end:
            if stays := not leaving():
                self.loss += self.train_one()
        self.seconds = time.perf_counter() - began
        return stays

    def train_one(self) -> Tensor:
        """One step; returns the loss [] of its first pass, not waiting for the device."""
        if self.step == 0:
            self._tell_average()
        seed_dropout(self.run.random_seed, self.step, self.device)
        step = Step(
            number=self.step,
            passes=Passes(
                self.model,
                self.weights,
                self.batches(self.step),
                freeze_second=self.run.bn_second_pass == "frozen",
                pieces=self.run.micro_batches,
                precision=self.run.precision,
                anchor=self.anchor,
            ),
            weights=self.weights,
            draws=StepDraws(self.run.random_seed, self.step, self.device),
            anchor=self.anchor,
            memory=self.memory,
        )
        rate = 1.0 if self.plateau is None else self.plateau.factor
        self.optimizer.lr = self.lr * self.lr_schedule(self.step) * rate
        losses = take_step(self.update, step, self.optimizer)
        self.step += 1
        self._tell_average()
        if self.average is not None:
            show(self.average, self.model, self.weights, self.statistics, step.passes)
        self.passes += step.passes.spent
        return losses[0]

    def _tell_average(self) -> None:
        if self.average is not None:
            statistics = torch.cat(self.statistics) if self.statistics else None
            self.average.add(self.weights.flat, self.step, self.run.steps, statistics)

    def evaluated(self, evaluation: Evaluation, began: float) -> None:
        """Tells what depends on it of an evaluation of the latest weights; began: the clock's."""
        if self.average is not None:
            self.average.evaluated(evaluation.validation_loss)
        if self.plateau is None:
            return
        if self.average is not None and self.average.runs_along:
            with in_place(self.average, self.model, self.weights, self.statistics):
                scores = self.scores(lambda part: part.role == "source" and part.split == "out")
            evaluation = replace(evaluation, scores=scores)
        self.plateau.evaluated(evaluation.validation_loss)
        self.seconds = time.perf_counter() - began

    def scores(self, wanted: Callable[[Part], bool]) -> tuple[Score, ...]:
        """Scores of the wanted parts, in order."""
        with self.scoring():
            return evaluate(self.model, [p for p in self.parts if wanted(p)], self.device)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """A block in which the model is evaluated as it trains: in the run's precision."""
        # Chunks of another size would be compiled anew.
        stance = torch.compiler.set_stance("force_eager") if self.run.compile else nullcontext()
        with stance, autocast(self.run.precision, self.device):
            yield

    def scores_and_flatness(self) -> tuple[Score, ...]:
        """Scores of every domain's in split, with the flatness that the run asks for."""
        run = self.run
        parts = [part for part in self.parts if part.split == "in"]
        return with_flatness(
            self.scores(lambda part: part.split == "in"),
            parts,
            self.model,
            self.weights,
            self.device,
            rho=run.flatness_rho,
            samples=run.flatness_samples,
            curvature=run.flatness == "curvature",
        )

    def load_average(self) -> None:
        """Puts the averaged weights in the place of the latest ones, for good.

        Batch norm's running statistics, which belong to the weights that made them, are measured
        anew for the average, unless they are frozen or the average has its own.
        """
        assert self.average is not None
        put(self.average, self.weights, self.statistics)
        if self.average.statistics is None and not self.bn_rests:
            with autocast(self.run.precision, self.device):
                measure_statistics(self.model, self.run, self.batches, self.device)

    def tensors(self) -> list[Tensor]:
        """Weights and buffers, as they are now, not copied."""
        return [self.weights.flat, *self.model.buffers()]

    def load_tensors(self, tensors: list[Tensor]) -> None:
        """Overwrites weights and buffers with those of `tensors()`."""
        for own, given in zip(self.tensors(), tensors, strict=True):
            own.copy_(given)

    def checkpoint(self) -> Checkpoint:
        """All that a resumed run needs, as tensors and plain values; training on leaves it be."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "passes": self.passes,
            "tensors": [tensor.clone() for tensor in self.tensors()],
            "frozen": self.frozen,
            "optimizer": {key: tensor.clone() for key, tensor in self.optimizer.state.items()},
            "beside": {key: tensor.clone() for key, tensor in self._anchor_tensors().items()},
            "memory": {key: tensor.clone() for key, tensor in self.memory.items()},
            "loss": self.loss.clone(),
            "average": self.average and self.average.state(),
            "plateau": self.plateau and asdict(self.plateau),
            "best": vars(self.best) if self.best else None,
            "preferred": vars(self.preferred) if self.preferred else None,
            "evaluations": [
                (e.step, [tuple(vars(s).values()) for s in e.scores], e.seconds, e.passes)
                for e in self.evaluations
            ],
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint. Raises ValueError if it is of other frozen parameters."""
        if checkpoint["frozen"] != self.frozen:
            raise ValueError(
                f"the parameters of {self.run.model} that do not train are no longer those of the "
                "checkpoint: put the old file of weights, or the old libraries, back"
            )
        self.step = checkpoint["step"]
        self.seconds = checkpoint["seconds"]
        self.passes = checkpoint["passes"]
        self.load_tensors(checkpoint["tensors"])
        for key, own in self.optimizer.state.items():
            own.copy_(checkpoint["optimizer"][key])
        for key, own in self._anchor_tensors().items():
            own.copy_(checkpoint["beside"][key])
        self.memory = {k: v.to(self.device, copy=True) for k, v in checkpoint["memory"].items()}
        self.loss.copy_(checkpoint["loss"])
        if self.average is not None:
            self.average.restore(checkpoint["average"], self.device)
        if self.plateau is not None:
            self.plateau = Plateau(**checkpoint["plateau"])
        self.best = self._best(checkpoint["best"])
        self.preferred = self._best(checkpoint.get("preferred"))
        self.evaluations = [
            Evaluation(step, tuple(Score(*score) for score in scores), seconds, passes=passes)
            for step, scores, seconds, passes in checkpoint["evaluations"]
        ]

    def _anchor_tensors(self) -> dict[str, Tensor]:
        return {} if self.anchor is None else self.anchor.tensors()

    def _best(self, saved: Checkpoint | None) -> Best | None:
        if saved is None:
            return None
        tensors = [tensor.to(self.device) for tensor in saved["tensors"]]
        return Best(saved["step"], saved["validation"], tensors)
