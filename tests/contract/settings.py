"""Toy settings of every registered part: each number, and another that must change the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasets
from training.algorithms import parse
from training.run import Run

DIGITS = datasets.load("RotatedDigits")

PARTS: dict[str, dict[str, tuple[float, float]]] = {
    "SAM": {"rho": (0.05, 0.1)},
    "ASAM": {"eta": (0.01, 0.1)},
    "ASAM-elementwise": {},
    "GSAM": {"rho": (0.05, 0.1), "alpha": (0.3, 0.6)},
    "SAGM": {"rho": (0.05, 0.1), "alpha": (0.01, 0.1)},
    "DISAM": {"lambda": (0.5, 1.0)},
    # The window opens before the first evaluation and closes after it.
    "GGA": {
        "neighborhood": (0.01, 0.02),
        "search_steps": (4, 2),
        "start": (2, 3),
        "length": (3, 2),
        "tolerance": (0.1, -10.0),  # below zero every point is refused
    },
    "GGA-L": {"gamma": (0.01, 0.1)},
}

OWN: dict[str, tuple[float, float]] = {
    "lr": (1e-3, 2e-3),
    "weight_decay": (1e-3, 1e-2),
    "dropout": (0.2, 0.4),
    "batch_size": (8, 9),
}

COMPOSITIONS = (
    "DISAM+SAGM",
    "DISAM+GSAM",
    "GGA+SAM",
    "GGA+SAGM",
    "ASAM+SAGM",
    "DISAM+GGA+SAGM",
    "GGA+GGA-L",
)

ALGORITHMS = ("ERM", *PARTS, *COMPOSITIONS)


def settings(algorithm: str) -> dict[str, tuple[float, float]]:
    """Every hyperparameter of a run of the algorithm, training's own included."""
    of_parts = {key: pair for part in parse(algorithm) for key, pair in PARTS[part].items()}
    return {**OWN, **of_parts}


def run_of(algorithm: str, changed: Mapping[str, float] | None = None, **fields: Any) -> Run:
    """A run of twelve steps with two evaluations before the last."""
    values = {key: value for key, (value, _) in settings(algorithm).items()}
    return Run(
        **{
            "dataset": "RotatedDigits",
            "root": None,
            "model": "mlp",
            "algorithm": algorithm,
            "held_out": "45",
            "seed": 0,
            "steps": 12,
            "evaluate_every": 4,
            "hyperparameters": {**values, **(changed or {})},
            **fields,
        }
    )
