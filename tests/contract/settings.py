"""Toy settings of every registered part: each number, and another that must change the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from itertools import combinations, product
from typing import Any

import datasets
from training import algorithms
from training.algorithms import parse
from training.run import Run
from training.update import Update

DIGITS = datasets.load("RotatedDigits")

PARTS: dict[str, dict[str, tuple[float, float]]] = {
    "SAM": {"rho": (0.05, 0.1)},
    "ASAM": {"eta": (0.01, 0.1)},
    "ASAM-elementwise": {},
    "GSAM": {"rho": (0.05, 0.1), "alpha": (0.3, 0.6)},
    "SAGM": {"rho": (0.05, 0.1), "alpha": (0.01, 0.1)},
    "GAM": {
        "rho": (0.05, 0.1),
        "grad_rho": (0.02, 0.05),
        "beta_1": (0.5, 0.7),
        "beta_2": (1.0, 0.5),
        "beta_3": (0.5, 0.7),
        "gam_gamma": (0.3, 0.6),
    },
    "VaSSO": {"theta": (0.5, 0.9)},
    "F-SAM": {"sigma": (1.0, 0.5), "fsam_lambda": (0.6, 0.9)},
    "DISAM": {"lambda": (0.5, 1.0)},
    # The window opens before the first evaluation and closes after it.
    "GGA": {
        "neighborhood": (0.01, 0.02),
        "search_steps": (2, 1),
        "start": (2, 1),
        "length": (1, 0),
        "tolerance": (0.1, -10.0),  # below zero every point is refused
    },
    "GGA-L": {"gamma": (0.01, 0.1)},
    "CORAL": {"coral_gamma": (1.0, 10.0)},
    "MMD": {"mmd_gamma": (0.1, 1.0)},
    # Penalties come to full weight after the first evaluation.
    "VREx": {"vrex_lambda": (2.0, 10.0), "vrex_anneal": (4, 5)},
    "GroupDRO": {"groupdro_eta": (0.1, 1.0)},
    "IRM": {"irm_lambda": (2.0, 10.0), "irm_anneal": (4, 5)},
    "Mixup": {"mixup_alpha": (0.2, 1.0)},
    "Fish": {"meta_lr": (0.5, 0.3)},
    "Fishr": {"fishr_lambda": (10.0, 100.0), "fishr_anneal": (4, 5), "fishr_ema": (0.9, 0.5)},
    "MIRO": {"miro_lambda": (0.1, 1.0), "miro_lr_mult": (10.0, 20.0)},
    "MMS": {"mms_margin": (0.3, 0.6)},
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
    "DISAM+SAGM+CORAL",
    "SAGM+Mixup",
    "ASAM+GroupDRO+VREx",
    "Fish+SAM",
    "MIRO+SAGM",
)

ALGORITHMS = ("ERM", *PARTS, *COMPOSITIONS)

# Why no two of a group compose: each says how far to climb, how the ball is shaped, or what the
# climb follows.
CLIMBS = ("SAM", "GSAM", "SAGM", "GAM")
METRICS = ("ASAM", "ASAM-elementwise")
FOLLOWED = ("VaSSO", "F-SAM")
# Parts that read the losses or features of domains.
READERS = ("DISAM", "CORAL", "MMD", "VREx", "GroupDRO", "Fishr")
REFUSED = {
    frozenset(pair)
    for pair in (
        *(pair for group in (CLIMBS, METRICS, FOLLOWED) for pair in combinations(group, 2)),
        *(("GAM", shaper) for shaper in (*METRICS, *FOLLOWED, "DISAM")),
        *(("Mixup", reader) for reader in (*READERS, "IRM", "MMS")),
        ("GroupDRO", "MMS"),
        *(("Fish", comparer) for comparer in (*READERS, "GGA-L", "Mixup")),
    )
}
PAIRS = ["+".join(p) for p in combinations(PARTS, 2) if frozenset(p) not in REFUSED]


@cache
def slots(part: str) -> set[str]:
    """What the part changes in an Update; epsilon only goes with what it follows."""
    made, plain = algorithms.PARTS[part]()(Update()), Update()
    names = {field.name for field in fields(Update)} - {"epsilon"}
    return {name for name in names if getattr(made, name) != getattr(plain, name)}


def covering() -> list[str]:
    """Few pairs in which any two slots meet that meet in any pair, and every part twice."""

    def meetings(pair: str) -> set[frozenset[str]]:
        one, other = map(slots, pair.split("+"))
        return {frozenset(met) for met in product(one, other)}

    def news(pair: str) -> tuple[int, int, int]:
        often = [seen[part] for part in pair.split("+")]
        return len(meetings(pair) & left), sum(n < 2 for n in often), -sum(often)

    left = set().union(*map(meetings, PAIRS))
    chosen: list[str] = []
    seen = dict.fromkeys(PARTS, 0)
    while left or min(seen.values()) < 2:
        best = max((pair for pair in PAIRS if pair not in chosen), key=news)
        chosen.append(best)
        left -= meetings(best)
        for part in best.split("+"):
            seen[part] += 1
    return chosen


def settings(algorithm: str) -> dict[str, tuple[float, float]]:
    """Every hyperparameter of a run of the algorithm, training's own included."""
    of_parts = {key: pair for part in parse(algorithm) for key, pair in PARTS[part].items()}
    return {**OWN, **of_parts}


def run_of(algorithm: str, changed: Mapping[str, float] | None = None, **fields: Any) -> Run:
    """A run of six steps with an evaluation in the middle."""
    values = {key: value for key, (value, _) in settings(algorithm).items()}
    return Run(
        **{
            "dataset": "RotatedDigits",
            "root": None,
            "model": "mlp",
            "algorithm": algorithm,
            "held_out": "45",
            "seed": 0,
            "steps": 6,
            "evaluate_every": 3,
            "hyperparameters": {**values, **(changed or {})},
            "head": "text" if "MMS" in parse(algorithm) else "linear",
            **fields,
        }
    )
