"""Invariant risk minimization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.outputs import Outputs


@dataclass(frozen=True)
class IRM:
    """A loss that asks for a classifier which no domain alone would want to scale.

    L + lambda mean_i p_i,  p_i = D_i D'_i,  lambda = 1 before the step irm_anneal

    D_i, D'_i: derivatives of the cross-entropy of s times the logits at s = 1, on every other
    sample of domain i and on the rest. p_i may be negative. irm_lambda: weight from step
    irm_anneal on, when the optimizer's memory is cleared. Arjovsky et al. 2019, arXiv 1907.02893,
    as in DomainBed.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Arjovsky et al. 2019, arXiv 1907.02893"
    compares_domains: ClassVar[bool] = False
    least_samples: ClassVar[int] = 2

    irm_lambda: float = 100.0
    irm_anneal: int = 500

    def __call__(self, update: Update) -> Update:
        return replace(
            update,
            penalties=(*update.penalties, self.penalty),
            restarts=update.restarts | {self.irm_anneal},
        )

    def penalty(self, outputs: Outputs, step: Step) -> Tensor:
        # By the chain rule the derivative by s at s = 1 is the gradient by the logits, times them.
        slopes = outputs.by_domain((outputs.errors * outputs.logits).sum(1))
        if slopes.shape[1] < 2:
            raise ValueError("IRM needs at least 2 samples of each domain in a batch, but got 1")
        products = slopes[:, ::2].mean(1) * slopes[:, 1::2].mean(1)
        weight = self.irm_lambda if step.number >= self.irm_anneal else 1.0
        return weight * products.mean()
