"""Sharpness-aware gradient matching."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.schedules import CONSTANT, Schedule
from training.update import Update

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SAGM:
    """SAM that matches the gradient of the loss with that of the perturbed loss.

    e = (rho_t / |g| - alpha) g,  w <- U(w, (g + grad L(w + e)) / 2)

    rho: radius. alpha: how far the peak moves down the raw gradient. Wang et al., CVPR 2023,
    arXiv 2303.10353, equation 8; the mean of the two gradients where the paper writes their sum
    is the released code's.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Wang et al. 2023, arXiv 2303.10353"
    compares_domains: ClassVar[bool] = False

    rho: float = 0.05
    alpha: float = 0.001
    schedule: Schedule = CONSTANT

    def __call__(self, update: Update) -> Update:
        return replace(update, scale=self.scale, combine=midpoint)

    def scale(self, norm: Tensor, step: int) -> Tensor:
        return self.rho * self.schedule(step) / norm - self.alpha


def midpoint(gradient: Tensor, peak: Tensor) -> Tensor:
    """The mean of the two gradients [P], written into `peak`."""
    return peak.lerp_(gradient, 0.5)
