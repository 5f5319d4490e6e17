"""Distributionally robust optimization over groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.outputs import Outputs


@dataclass(frozen=True)
class GroupDRO:
    """A loss that gives more weight to the domains whose loss stays high.

    sum_i q_i L_i,  q_i <- q_i exp(eta L_i), then divided by their sum, once in a step

    groupdro_eta: how quickly the weights shift; 0 weighs all domains alike. Sagawa et al. 2020,
    arXiv 1911.08731, algorithm 1, as in DomainBed. All passes of a step share its weights q, of
    the losses before the climb.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Sagawa et al. 2020, arXiv 1911.08731"
    compares_domains: ClassVar[bool] = True

    groupdro_eta: float = 0.01

    def __call__(self, update: Update) -> Update:
        return replace(update, objective=self.objective, apart=True)

    def objective(self, outputs: Outputs, step: Step) -> Tensor:
        losses = outputs.domain_losses
        raised = (self.groupdro_eta * losses).exp()
        if "GroupDRO" in step.memory:
            raised = step.memory["GroupDRO"] * raised
        weights = step.remember("GroupDRO", raised / raised.sum())
        return weights.dot(losses)
