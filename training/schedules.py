"""How a number changes over the steps of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHAPES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class Schedule:
    """A factor for each step: a linear warm-up from 0 to 1, then a decay from 1 to `floor`.

    With u = warmup, T = steps and f = (t - u) / (T - u) clamped to [0, 1]:
    t < u: t / u;  constant: 1;  linear: 1 + (floor - 1) f;
    cosine: floor + (1 - floor) (1 + cos(pi f)) / 2.

    GSAM's radius (Zhuang et al. 2022): rho_t = rho * factor(t), rho_min = rho * floor.

    Raises ValueError for an unknown shape or numbers out of range.
    """

    shape: str = "constant"
    steps: int = 1
    warmup: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"schedule must be one of {', '.join(SHAPES)}, but got {self.shape!r}")
        if not 0 <= self.warmup < max(self.steps, 1):
            raise ValueError(
                f"0 <= warmup < steps must hold, but got (warmup={self.warmup}, steps={self.steps})"
            )
        if not 0 <= self.floor <= 1:
            raise ValueError(f"0 <= floor <= 1 must hold, but got (floor={self.floor})")

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return step / self.warmup
        if self.shape == "constant":
            return 1.0
        done = min((step - self.warmup) / (self.steps - self.warmup), 1.0)
        if self.shape == "linear":
            return 1 + (self.floor - 1) * done
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


CONSTANT = Schedule()
