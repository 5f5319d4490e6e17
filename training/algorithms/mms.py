"""Margin metric softmax: texts that are alike are told apart by less."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.outputs import Outputs


@dataclass(frozen=True)
class MMS:
    """A loss that asks the true class for a margin over classes whose texts are unlike its own.

    mean over samples of CE(logits - mms_margin tau <t_y, t_c>, y)

    t_c: unit text features of class c, y: the true class, tau: the temperature. The true logit
    drops by mms_margin tau, each other one by that times the likeness of its text. Needs
    model.head: text-fixed, or text, where the margin stays that of the texts at the start. MMS+BMA
    is CLIPood. Shu et al., ICML 2023, arXiv 2302.00864, and thuml/CLIPood.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Shu et al. 2023 (CLIPood), arXiv 2302.00864"
    compares_domains: ClassVar[bool] = False

    mms_margin: float = 0.3

    def __call__(self, update: Update) -> Update:
        return replace(update, objective=self.objective)

    def objective(self, outputs: Outputs, step: Step) -> Tensor:
        import torch.nn.functional as F

        margins = self.mms_margin * step.passes.similarity[outputs.y]
        return F.cross_entropy(outputs.logits - margins, outputs.y)
