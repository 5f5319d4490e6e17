"""MIRO: features that stay close to those of the pretrained model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from training.update import FORWARD, Anchor, Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.outputs import Outputs

LEAST_VARIANCE = 1e-5
FIRST_VARIANCE = 0.1


@dataclass(frozen=True)
class MIRO:
    """A loss that keeps the features of every stage close to those of the pretrained model.

    L + lambda sum_l 1/2 mean [(f_l - f0_l)^2 / v_l + log v_l],  v_l = softplus(b_l) + 1e-5

    f_l, f0_l: the feature maps of layer l, of the model and of the model before training, of the
    same batch. v_l: a variance for each channel, 0.1 at first; b_l learns by the same optimizer.
    miro_lambda: weight. miro_lr_mult: the rate of b_l, in those of the model. Cha et al., ECCV
    2022, arXiv 2203.10789, as in its released code.

    layers: the stem and the last layer of each stage, as in every sweep, or (`block`, from Python)
    the stages alone.
    """

    cost: ClassVar[float] = 1 + FORWARD
    paper: ClassVar[str] = "Cha et al. 2022, arXiv 2203.10789"
    compares_domains: ClassVar[bool] = False
    forwards: ClassVar[int] = 1  # of the model before training, once in a step

    miro_lambda: float = 0.1
    miro_lr_mult: float = 10.0
    layers: Literal["stem_block", "block"] = "stem_block"

    def __call__(self, update: Update) -> Update:
        first = math.log(math.expm1(FIRST_VARIANCE - LEAST_VARIANCE))
        anchor = Anchor(self.layers == "stem_block", first, self.miro_lr_mult)
        return replace(update, penalties=(*update.penalties, self.penalty), anchor=anchor)

    def penalty(self, outputs: Outputs, step: Step) -> Tensor:
        import torch.nn.functional as F

        assert step.anchor is not None
        total = outputs.logits.new_zeros(())
        maps = zip(outputs.maps, outputs.maps_before, step.anchor.parameters, strict=True)
        for now, before, parameter in maps:
            variance = F.softplus(parameter) + LEAST_VARIANCE
            moved = (now - before).square().transpose(0, 1).flatten(1).mean(1)  # of each channel
            total = total + 0.5 * (moved / variance + variance.log()).mean()
        return self.miro_lambda * total
