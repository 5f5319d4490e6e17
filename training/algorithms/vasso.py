"""Variance-suppressed sharpness-aware optimization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VaSSO:
    """A climb along a running mean of gradients, which no single batch leads astray.

    e = rho m / |m|,  m <- (1 - theta) m + theta g,  m = g in the first step

    theta: weight of the newest gradient; 1 leaves the climb as it is. Shapes the climb of SAM,
    GSAM or SAGM. Li & Giannakis, NeurIPS 2023, arXiv 2309.15639, equation 6.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Li & Giannakis 2023, arXiv 2309.15639"
    compares_domains: ClassVar[bool] = False

    theta: float = 0.9

    def __call__(self, update: Update) -> Update:
        return replace(update, follow=self.follow, epsilon=1e-7)

    def follow(self, gradient: Tensor, step: Step) -> Tensor:
        mean = step.memory.get("VaSSO")
        newer = gradient.clone() if mean is None else mean.lerp(gradient, self.theta)
        return step.remember("VaSSO", newer)
