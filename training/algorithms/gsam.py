"""Surrogate gap guided sharpness-aware minimization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.algorithms.sam import SAM
from training.schedules import CONSTANT, Schedule
from training.update import Update, length

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-12


@dataclass(frozen=True)
class GSAM:
    """SAM that also closes the gap between the loss at the peak and at the weights.

    d = g' - alpha g_perp,  g' the gradient at SAM's peak, g_perp the part of g orthogonal to g'

    rho: radius. alpha: weight of the gap; 0 is SAM. Zhuang et al. 2022, arXiv 2203.08065,
    algorithm 1.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Zhuang et al. 2022, arXiv 2203.08065"
    compares_domains: ClassVar[bool] = False

    rho: float = 0.05
    alpha: float = 0.001
    schedule: Schedule = CONSTANT

    def __call__(self, update: Update) -> Update:
        return replace(SAM(self.rho, self.schedule)(update), combine=self.combine)

    def combine(self, gradient: Tensor, peak: Tensor) -> Tensor:
        return without_orthogonal(gradient, peak, self.alpha)


def without_orthogonal(gradient: Tensor, peak: Tensor, alpha: float) -> Tensor:
    """The peak less alpha times the part of the gradient that is orthogonal to it; all [P].

    Overwrites both.
    """
    norm, peak_norm = length(gradient), length(peak)
    cosine = gradient.dot(peak) / (norm * peak_norm + EPSILON)
    orthogonal = gradient.addcmul_(peak, -cosine * norm / (peak_norm + EPSILON))
    return peak.sub_(orthogonal, alpha=alpha)
