"""Times a few steps of a run on the device at hand, to say what the whole would take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.domain_dataset import Domain, DomainDataset, Originals
from training import algorithms
from training.computation import backends
from training.evaluation import evaluate
from training.run import Run
from training.trainer import Trainer
from training.update import FORWARD

LATER = 2**40  # a step that no run has
LONGEST_STEP = 4.0  # seconds; a longer one is measured on a smaller batch
SIDE = 320  # of the images that stand in for photographs


@dataclass(frozen=True)
class Timing:
    """What parts of a run take, in seconds, with `batch` samples of each source domain.

    On a CPU these are seconds that the process computed, as if nothing else ran on the machine.

    build: of model, splits and batches. step: an ordinary step. passes: Passes.spent of it. search:
    a pass of GGA's annealed search besides; 0 without one. image: one that is scored. redrawn:
    whether a point of that search costs a forward more (GGA.annealed_cost) without dropout.
    measures: whether averaged weights need their batch statistics measured. checkpoint, weights:
    bytes of a checkpoint and of the model. scaled_from: the batch size that was measured, if the
    whole batch would have taken too long; None otherwise. busy: the share of its time that the
    process computed; on a CPU, less than 1 means that others did too.
    """

    batch: int
    build: float
    step: float
    passes: float
    search: float
    image: float
    redrawn: bool
    measures: bool
    checkpoint: int
    weights: int
    scaled_from: int | None
    busy: float


def stand_in(
    name: str,
    domains: Sequence[str],
    classes: int,
    image_shape: tuple[int, int, int],
    photographs: bool,
) -> DomainDataset:
    """A dataset with a few random images of a shape [C, H, W], for one that is not there.

    All its domains have the same ones.

    photographs: whether training crops are cut from larger images, as of photographs.
    """
    channels, height, width = image_shape
    count = max(4 * classes, 40 if height > 64 else 400)
    count = min(count, 200 if height > 64 else count)
    images = _noise(count, height, width, channels)
    labels = np.arange(count, dtype=np.int64) % classes
    sizes, originals = None, None
    if photographs:
        sizes = np.full((count, 2), SIDE, np.int64)
        originals = Originals(_noise(count, SIDE, SIDE, 3).reshape(-1), sizes)
    found = tuple(Domain(domain, images, labels, sizes, originals) for domain in domains)
    return DomainDataset(name, found, tuple(map(str, range(classes))), "stand-in")


def _noise(count: int, *shape: int) -> NDArray[np.uint8]:
    """Random images, of which the first are repeated: to draw them all would take seconds."""
    few = np.random.default_rng(0).integers(0, 256, (min(count, 32), *shape), np.uint8)
    return np.resize(few, (count, *shape))


def time_run(run: Run, dataset: DomainDataset, threads: int, seconds: float = 1.0) -> Timing:
    """Takes steps of a run for about this many seconds, at least one step, and scores some images.

    The model has random weights and a linear head, and is not compiled. GGA's window is measured by
    one point of its search. Raises ValueError as Trainer does.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with backends(run.tf32, run.deterministic):
            return _time_run(run, dataset, seconds)
    finally:
        torch.set_num_threads(before)


def _time_run(run: Run, dataset: DomainDataset, seconds: float) -> Timing:
    whole = int(run.hyperparameters.get("batch_size", 32))
    least = max(2, algorithms.least_samples(run.algorithm), run.micro_batches)
    searches = "search_steps" in algorithms.hyperparameters(run.algorithm)
    plain = replace(run, weights=None, head="linear", prompts=(), compile=False, start="model")

    def trainer_of(batch: int, begin: int = LATER) -> Trainer:
        own = {**run.hyperparameters, "batch_size": batch, "dropout": 0.0}
        if searches:
            own |= {"search_steps": 1, "start": begin, "length": LATER}
        trainer = Trainer(replace(plain, hyperparameters=own), dataset)
        trainer.learn()
        return trainer

    count = min(whole, least)
    small = trainer_of(count)
    clock = _Clock(small.device)
    wall, computed = time.perf_counter(), clock()
    small.train_one()
    step = _mean(small.train_one, clock, 0.0)
    long = step * whole / count > LONGEST_STEP
    count = max(count, min(whole, int(LONGEST_STEP / step * count))) if long else whole
    began = clock()
    trainer = trainer_of(count)
    build = clock() - began
    trainer.train_one()
    spent, taken = trainer.passes, trainer.step
    step = _mean(trainer.train_one, clock, seconds)
    passes = (trainer.passes - spent) / (trainer.step - taken)
    search, redrawn = 0.0, False
    if searches:
        window = trainer_of(count, begin=0)
        window.train_one()
        spent = window.passes - passes  # of two points
        redrawn = spent > 2 + FORWARD
        search = max(_mean(window.train_one, clock, seconds / 2) - step, 0.0) / spent
    image = _image(trainer, clock, seconds)
    busy = (clock() - computed) / (time.perf_counter() - wall)
    scale = whole / count
    state = trainer.tensors()
    kept = _bytes(trainer.checkpoint()) + _bytes(state) * (trainer.average is None)
    return Timing(
        whole,
        build,
        step * scale,
        passes,
        search * scale,
        image,
        redrawn,
        bool(trainer.statistics) and getattr(trainer.average, "statistics", None) is None,
        kept,
        _bytes(state),
        None if count == whole else count,
        min(busy, 1.0),
    )


class _Clock:
    """Seconds that the device has computed, as far as others have left it to this process."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self) -> float:
        if self._device.type == "cpu":
            return time.process_time() / torch.get_num_threads()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _mean(step: Callable[[], Tensor], clock: _Clock, seconds: float) -> float:
    """Seconds of a step: the mean of as many as these seconds hold, at least one."""
    began, count = clock(), 0
    until = time.perf_counter() + 3 * seconds  # where others compute too
    while True:
        step()
        count += 1
        taken = clock() - began if count % 8 == 0 or count < 8 else 0.0
        if taken >= seconds or time.perf_counter() > until:
            return (clock() - began) / count


def _image(trainer: Trainer, clock: _Clock, seconds: float) -> float:
    """Seconds to score an image, on as many as fit into these seconds, at least 16."""
    parts = [part for part in trainer.parts if part.split == "in"]

    def of(count: int) -> float:
        some, left = [], count
        for part in parts:
            if left > 0:
                some.append(replace(part, indices=part.indices[:left]))
                left -= len(some[-1].indices)
        began = clock()
        evaluate(trainer.model, some, trainer.device)
        return (clock() - began) / sum(len(part.indices) for part in some)

    of(16)  # the first is slower
    one = of(16)
    return of(int(seconds / one)) if seconds / one > 64 else one


def _bytes(content: Any) -> int:
    """Of all tensors in nested containers."""
    if isinstance(content, Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, dict):
        return sum(map(_bytes, content.values()))
    if isinstance(content, list | tuple):
        return sum(map(_bytes, content))
    return 0
