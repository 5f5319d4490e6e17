"""What a step of each algorithm costs, against ERM, its bare passes, and the released codes' way.

    python -m benchmarks.step_cost [--models mlp cnn] [--rounds 60] [--output step_cost.json]

All contestants take turns, a few steps each, in one process on one thread; the figures are medians
over the rounds of ratios within a round, so that a machine that is slow for a while is slow for
all. Time is the process's CPU time. The batch is made beforehand.

ERM here is torch's default Adam after one pass. A floor is the bare forward and backward passes
that an algorithm needs, and nothing else. The released codes' way: benchmarks/released_steps.py.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

import numpy as np
import torch
import torch.nn.functional as F

import datasets
import models
from benchmarks import released_steps
from datasets.batches import Batches, DomainBatch
from training import algorithms, optimizers
from training.draws import StepDraws
from training.passes import Passes
from training.update import Step, take_step
from training.weights import Weights

CPU = torch.device("cpu")
LR = 5e-5
SEARCH_STEPS = 5  # of GGA, in its window


@dataclass(frozen=True)
class Case:
    """A model, and what it is trained on: `batch_size` images of each source domain."""

    model: str
    dataset: str
    batch_size: int
    steps: int  # of each contestant in each round


CASES = {
    "mlp": Case("mlp", "RotatedDigits", 32, 8),
    "cnn": Case("cnn", "RotatedDigits", 32, 2),
}

# Forward and backward passes over the batch; a forward alone is a third of one.
PASSES = {
    "ERM": 1.0,
    "SAM": 2.0,
    "ASAM": 2.0,
    "ASAM-elementwise": 2.0,
    "GSAM": 2.0,
    "SAGM": 2.0,
    "DISAM": 2.0,
    "DISAM+SAGM": 2.0,
    "GGA-L": 2.0,
    "GGA": 1 + (SEARCH_STEPS + 1) * (1 + 1 / 3),
}

RELEASED: dict[str, Callable[[models.Network, DomainBatch, float], Callable[[], None]]] = {
    "ERM": released_steps.erm,
    "SAM": released_steps.sam,
    "SAGM": released_steps.sagm,
}

Contestant = Callable[[], None]


@dataclass(frozen=True)
class Row:
    """A step's cost: milliseconds of CPU time, and ratios of CPU times.

    outside_to_released: what is left when the floor is taken off, against the same of the
    released code's way. None where that way is not written here.
    """

    model: str
    name: str
    milliseconds: float
    to_erm: float
    to_floor: float
    to_released: float | None
    outside_to_released: float | None


def steppe(case: Case, algorithm: str, batch: DomainBatch) -> Contestant:
    """A step as a run makes it."""
    model = fresh(case, batch)
    weights = Weights(model)
    in_window = {"start": 0, "search_steps": SEARCH_STEPS}
    update = algorithms.build(algorithm, in_window if algorithm == "GGA" else {})
    optimizer = optimizers.build("adam", weights.flat, LR, 0.0)

    def step() -> None:
        passes = Passes(model, weights, batch)
        take_step(update, Step(0, passes, weights, StepDraws(0, 0, CPU)), optimizer)

    return step


def bare_pass(case: Case, batch: DomainBatch) -> Contestant:
    """One forward and backward, and no use of the gradient."""
    model = fresh(case, batch)

    def step() -> None:
        loss = F.cross_entropy(model(batch.x), batch.y)
        loss.backward()  # type: ignore[no-untyped-call]
        model.zero_grad()

    return step


def fresh(case: Case, batch: DomainBatch) -> models.Network:
    torch.manual_seed(0)
    _, channels, height, width = batch.x.shape
    model = models.build(
        case.model, datasets.describe(case.dataset).classes, (channels, height, width)
    )
    return model.train()


def batch_of(case: Case) -> DomainBatch:
    """The first batch of a run that holds out the last domain."""
    sources = datasets.load(case.dataset).domains[:-1]
    return Batches([(d, np.arange(len(d))) for d in sources], case.batch_size, seed=0)(0)


def measure(contestants: dict[str, Contestant], rounds: int, steps: int) -> dict[str, list[float]]:
    """CPU seconds of a step of each contestant in each round, after two rounds to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 2):
        for name, step in contestants.items():
            began = process_time()
            for _ in range(steps):
                step()
            seconds[name].append((process_time() - began) / steps)
    return {name: values[2:] for name, values in seconds.items()}


def compare(case: Case, rounds: int) -> list[Row]:
    """The rows of one model."""
    batch = batch_of(case)
    contestants = {name: steppe(case, name, batch) for name in PASSES}
    for name, released in RELEASED.items():
        contestants[f"released {name}"] = released(fresh(case, batch), batch, LR)
    contestants["pass"] = bare_pass(case, batch)
    seconds = measure(contestants, rounds, case.steps)
    bare = seconds.pop("pass")
    rows = []
    for name, values in seconds.items():
        algorithm = name.removeprefix("released ")
        floor = [PASSES[algorithm] * value for value in bare]
        plain = seconds.get(f"released {name}")
        rows.append(
            Row(
                case.model,
                name,
                1000 * statistics.median(values),
                ratio(values, seconds["released ERM"]),
                ratio(values, floor),
                ratio(values, plain) if plain else None,
                ratio(beyond(values, floor), beyond(plain, floor)) if plain else None,
            )
        )
    return rows


def ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def beyond(values: list[float], floor: list[float]) -> list[float]:
    return [value - least for value, least in zip(values, floor, strict=True)]


def table(rows: list[Row]) -> str:
    lines: list[tuple[str, ...]] = [
        ("model", "algorithm", "ms", "/ ERM", "/ floor", "/ released", "beyond floor / released")
    ]
    for row in rows:
        ratios = (row.to_erm, row.to_floor, row.to_released, row.outside_to_released)
        cells = ["" if value is None else f"{value:.2f}" for value in ratios]
        lines.append((row.model, row.name, f"{row.milliseconds:.2f}", *cells))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for name in arguments.models for row in compare(CASES[name], arguments.rounds)]
    print(table(rows))
    if arguments.output:
        result = {
            "torch": torch.__version__,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "rounds": arguments.rounds,
            "rows": [asdict(row) for row in rows],
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
