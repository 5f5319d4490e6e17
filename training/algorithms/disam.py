"""Domain-inspired sharpness-aware minimization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.outputs import Outputs


@dataclass(frozen=True)
class DISAM:
    """An ascent that climbs less for domains whose loss is already high.

    e = rho g_DI / |g_DI|,  g_DI = grad (L - lambda V)(w),  V the variance of the domain losses

    The descent follows L alone. lambda: weight of the variance; 0 leaves the ascent as it is.
    Shapes the climb of SAM, GSAM or SAGM. Zhang et al., ICLR 2024, arXiv 2405.18861, equation 7.

    variance: `per_domain` weighs each domain 1/M (the paper); `per_sample` weighs it by its share
    of the batch (what the released code computes). Equal on balanced batches.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Zhang et al. 2024, arXiv 2405.18861"
    compares_domains: ClassVar[bool] = True

    lambda_: float = 0.1
    variance: Literal["per_domain", "per_sample"] = "per_domain"

    def __call__(self, update: Update) -> Update:
        return replace(update, steering=self.steering)

    def steering(self, outputs: Outputs, step: Step) -> Tensor:
        losses = outputs.domain_losses
        if self.variance == "per_domain":
            variance = losses.var(correction=0)
        else:
            shares = outputs.shares
            variance = (shares * (losses - (shares * losses).sum()) ** 2).sum()
        return -self.lambda_ * variance
