"""Gradient norm aware minimization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.algorithms.gsam import without_orthogonal
from training.schedules import CONSTANT, Schedule
from training.update import Step, Update, length

if TYPE_CHECKING:
    from torch import Tensor

    from training.update import Gradient


@dataclass(frozen=True)
class GAM:
    """Descent towards a minimum around which the norm of the gradient stays small.

    g1 = grad L(w + r g0 / |g0|),  v = w + rho (g1 - g0) / |g1 - g0|,  g2 = grad L(v),
    g3 = grad L(v + r g2 / |g2|),  P = beta_1 g1 + beta_3 g3,  N = g0 + beta_2 g2,
    d = P - gam_gamma N_perp,  g0 = grad L(w), N_perp the part of N orthogonal to P

    rho: radius in which the norm is largest at v. grad_rho: r, radius in which a difference of
    gradients stands for a curvature. The accelerated form of the released code, whose weights are
    free; those of Zhang et al., CVPR 2023, arXiv 2303.03108, are convex.
    """

    cost: ClassVar[float] = 4
    paper: ClassVar[str] = "Zhang et al. 2023, arXiv 2303.03108"
    compares_domains: ClassVar[bool] = False

    rho: float = 0.2
    grad_rho: float = 0.02
    beta_1: float = 1.0
    beta_2: float = 1.0
    beta_3: float = 1.0
    gam_gamma: float = 0.03
    schedule: Schedule = CONSTANT

    def __call__(self, update: Update) -> Update:
        return replace(update, climbs=self.climbs)

    def climbs(self, step: Step, gradient: Gradient) -> tuple[Tensor, list[Tensor]]:
        flat, factor = step.weights.flat, self.schedule(step.number)
        near, far = self.grad_rho * factor, self.rho * factor
        value_0, g0 = gradient()
        with step.weights.displaced() as origin:
            move(flat, g0, near)
            value_1, g1 = gradient(second=True)
            g1 = g1.clone()
            flat.copy_(origin)
            move(flat, g1 - g0, far)
            value_2, g2 = gradient(second=True)
            move(flat, g2, near)
            normal = g0.add_(g2, alpha=self.beta_2)
            value_3, g3 = gradient(second=True)
        peak = g3.mul_(self.beta_3).add_(g1, alpha=self.beta_1)
        result = without_orthogonal(normal, peak, self.gam_gamma)
        return result, [value_0, value_1, value_2, value_3]


def move(flat: Tensor, along: Tensor, radius: float) -> None:
    """Moves weights [P] a distance along a vector [P]."""
    flat.addcmul_(along, radius / (length(along) + 1e-12))
