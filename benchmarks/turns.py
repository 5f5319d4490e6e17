"""Contestants that take turns, and what is made of the times that they took."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

Who = TypeVar("Who")


def taken(
    turns: Mapping[Who, Callable[[], float]], rounds: int, warm_up: int
) -> dict[Who, list[float]]:
    """What the turn of each contestant took in each round, after some rounds to warm up."""
    found: dict[Who, list[float]] = {who: [] for who in turns}
    for _ in range(warm_up + rounds):
        for who, turn in turns.items():
            found[who].append(turn())
    return {who: values[warm_up:] for who, values in found.items()}


def ratio(one: list[float], other: list[float]) -> float:
    """The median of the ratios within a round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def aligned(lines: Sequence[Sequence[str]], left: int) -> list[str]:
    """The lines of a table, its first `left` columns aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def write(file: Path | None, **figures: object) -> None:
    """Writes the figures, and where they were measured, as JSON if there is a file for them."""
    if file is not None:
        where = {"torch": torch.__version__, "machine": platform.machine()}
        file.write_text(json.dumps(where | figures, indent=2) + "\n")
