"""Who competes in step_cost.py, and with which models and batches."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import datasets
import models
from benchmarks import released_steps
from datasets.batches import Batches, DomainBatch
from models.network import Network, freeze_batch_norm
from training import algorithms, optimizers
from training.draws import StepDraws
from training.passes import Passes
from training.update import Step, take_step
from training.weights import Weights

LR = 5e-5
SEARCH_STEPS = 5  # of GGA, in its window
PARTS = [part for part in algorithms.PARTS if part not in algorithms.OF_TEXTS]
EVERY = ("ERM", *PARTS, "DISAM+SAGM")
SHARPNESS = ("ERM", "SAM", "GSAM", "SAGM", "DISAM")


@dataclass(frozen=True)
class Case:
    """A model, and its batch: `batch_size` images of each of three source domains.

    image_size: None for digits. steps: of each contestant in each round. goal: SAGM's time, at
    most this times that of the released code's way.
    """

    model: str
    image_size: int | None
    batch_size: int
    steps: int
    rounds: int
    algorithms: tuple[str, ...]
    goal: float | None = None


CASES = {
    "mlp": Case("mlp", None, 32, 8, 60, EVERY, 0.70),
    "cnn": Case("cnn", None, 32, 2, 60, EVERY),
    "resnet18-64": Case("resnet18", 64, 8, 1, 20, SHARPNESS, 0.92),
    "resnet18-224": Case("resnet18", 224, 4, 1, 8, SHARPNESS, 0.90),
    "resnet50-224": Case("resnet50", 224, 2, 1, 6, SHARPNESS),
}


@dataclass(frozen=True)
class Contestant:
    """Who takes a step: an algorithm in Steppe or in the released code's way, or bare passes."""

    way: Literal["steppe", "released", "bare"]
    algorithm: str = "ERM"
    channels_last: bool = False

    @property
    def name(self) -> str:
        before = "released " if self.way == "released" else ""
        return before + self.algorithm + (", channels_last" if self.channels_last else "")

    @property
    def passes(self) -> float:
        """Forward and backward passes over the batch."""
        parts = algorithms.parse(self.algorithm)
        if "GGA" in parts:
            return 1 + (SEARCH_STEPS + 1)
        return max([1.0, *(algorithms.PARTS[part].cost for part in parts)])


def contestants_of(case: Case) -> list[Contestant]:
    """All that are compared; bare passes and the released ERM are what others are held against."""
    ways = [name for name in released_steps.WAYS if name in ("ERM", *case.algorithms)]
    contestants = [
        Contestant("bare"),
        *(Contestant("steppe", name) for name in case.algorithms),
        *(Contestant("released", name) for name in ways),
    ]
    if case.image_size is not None:
        contestants.append(Contestant("bare", channels_last=True))
        contestants.append(Contestant("steppe", "SAGM", channels_last=True))
    return contestants


def model_of(
    contestant: Contestant, case: Case, batch: DomainBatch, dropout: float = 0.0
) -> Network:
    """A model of its own; all begin with the same weights."""
    torch.manual_seed(0)
    _, channels, height, width = batch.x.shape
    model = models.build(case.model, 10, (channels, height, width), dropout).to(batch.x.device)
    if contestant.channels_last:
        model = model.to(memory_format=torch.channels_last)
    freeze_batch_norm(model.train())
    return model


def step_of(contestant: Contestant, model: Network, batch: DomainBatch) -> Callable[[], None]:
    """A step of the model."""
    if contestant.way == "bare":
        return lambda: bare_pass(model, batch.x, batch.y)
    if contestant.way == "released":
        batch = replace(batch, x=batch.x.contiguous())  # as their loaders stack images
        return released_steps.WAYS[contestant.algorithm](model, batch, LR)
    return steppe(contestant.algorithm, model, batch)


def steppe(algorithm: str, model: Network, batch: DomainBatch) -> Callable[[], None]:
    """A step as a run makes it."""
    weights = Weights(model)
    in_window = {"start": 0, "search_steps": SEARCH_STEPS}
    update = algorithms.build(algorithm, in_window if algorithm == "GGA" else {})
    optimizer = optimizers.build("adam", weights.flat, LR, 0.0)
    draws = StepDraws(0, 0, batch.x.device)
    memory: dict[str, Tensor] = {}

    def step() -> None:
        take_step(update, Step(0, Passes(model, weights, batch), weights, draws, memory), optimizer)

    return step


def bare_pass(model: Network, x: Tensor, y: Tensor) -> None:
    """One forward and backward, and no use of the gradient."""
    F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    model.zero_grad()


def timed(step: Callable[[], None], steps: int, device: torch.device) -> Callable[[], float]:
    """A turn of so many steps; it says the seconds of one, of the CPU or until a GPU is done."""

    def clock() -> float:
        if device.type == "cpu":
            return process_time()
        torch.accelerator.synchronize(device)
        return perf_counter()

    def turn() -> float:
        began = clock()
        for _ in range(steps):
            step()
        return (clock() - began) / steps

    return turn


def batch_of(case: Case, device: torch.device) -> DomainBatch:
    """Digits of three domains, or as many images of noise with their labels.

    Channels are innermost in memory, as in the batches of a run.
    """
    sources = datasets.load("RotatedDigits").domains[:3]
    batch = Batches([(d, np.arange(len(d))) for d in sources], case.batch_size, 0, device)(0)
    if case.image_size is None:
        return batch
    torch.manual_seed(0)
    noise = torch.rand(len(batch.y), 3, case.image_size, case.image_size)
    return replace(batch, x=noise.to(device, memory_format=torch.channels_last))


def options(doc: str, titles: Sequence[str]) -> argparse.ArgumentParser:
    """The options of all that measures steps. titles: of the cases, if the user names none."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(titles))
    parser.add_argument("--image-size", type=int, help="pixels, for the ResNets")
    parser.add_argument("--batch", type=int, help="images of each of three domains")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--output", type=Path)
    return parser


def asked(title: str, arguments: argparse.Namespace) -> Case:
    """A case as the options ask for it."""
    case = CASES[title]
    return replace(
        case,
        image_size=case.image_size and (arguments.image_size or case.image_size),
        batch_size=arguments.batch or case.batch_size,
        rounds=arguments.rounds or case.rounds,
    )


def said(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where and by which options steps were measured, for the file of figures."""
    return {
        "device": str(arguments.device),
        "threads": torch.get_num_threads(),
        "options": {key: getattr(arguments, key) for key in ("image_size", "batch", "rounds")},
    }
