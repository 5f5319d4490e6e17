"""Risk extrapolation by the variance of risks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.outputs import Outputs


@dataclass(frozen=True)
class VREx:
    """A loss that pulls together the losses of all domains.

    L + lambda V,  V the variance of the domain losses,  lambda = 1 before the step vrex_anneal

    vrex_lambda: weight of the variance from step vrex_anneal on, when the optimizer's memory is
    cleared. Krueger et al. 2021, arXiv 2003.00688, equation 8, as in DomainBed.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Krueger et al. 2021, arXiv 2003.00688"
    compares_domains: ClassVar[bool] = True

    vrex_lambda: float = 10.0
    vrex_anneal: int = 500

    def __call__(self, update: Update) -> Update:
        return replace(
            update,
            penalties=(*update.penalties, self.penalty),
            restarts=update.restarts | {self.vrex_anneal},
        )

    def penalty(self, outputs: Outputs, step: Step) -> Tensor:
        weight = self.vrex_lambda if step.number >= self.vrex_anneal else 1.0
        return weight * outputs.domain_losses.var(correction=0)
