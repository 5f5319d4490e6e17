"""Friendly sharpness-aware minimization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FSAM:
    """A climb along what is new in this batch's gradient, and not along what all batches share.

    e = rho d / |d|,  d = g - sigma m,  then m <- lambda m + (1 - lambda) g;  first step: d = m = g

    sigma: how much of the running mean m is taken off; 0 leaves the climb as it is. fsam_lambda:
    weight of the old mean. Shapes the climb of SAM, GSAM or SAGM. Li et al., CVPR 2024,
    arXiv 2403.12350, algorithm 1.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Li et al. 2024, arXiv 2403.12350"
    compares_domains: ClassVar[bool] = False

    sigma: float = 1.0
    fsam_lambda: float = 0.6

    def __call__(self, update: Update) -> Update:
        return replace(update, follow=self.follow)

    def follow(self, gradient: Tensor, step: Step) -> Tensor:
        mean = step.memory.get("F-SAM")
        if mean is None:
            return step.remember("F-SAM", gradient.clone())
        step.remember("F-SAM", gradient.lerp(mean, self.fsam_lambda))
        return gradient.sub(mean, alpha=self.sigma)
