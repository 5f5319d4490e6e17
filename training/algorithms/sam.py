"""Sharpness-aware minimization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.schedules import CONSTANT, Schedule
from training.update import Update

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SAM:
    """The gradient at the worst point of a ball around the weights.

    e = rho_t g / |g|,  w <- U(w, grad L(w + e))

    rho: radius, in units of the weights. Foret et al. 2021, arXiv 2010.01412, equation 2.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Foret et al. 2021, arXiv 2010.01412"
    compares_domains: ClassVar[bool] = False

    rho: float = 0.05
    schedule: Schedule = CONSTANT

    def __call__(self, update: Update) -> Update:
        return replace(update, scale=self.scale)

    def scale(self, norm: Tensor, step: int) -> Tensor:
        return self.rho * self.schedule(step) / norm
