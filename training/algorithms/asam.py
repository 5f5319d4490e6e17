"""Adaptive sharpness: the ball is stretched along large weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.weights import Weights


@dataclass(frozen=True)
class ASAM:
    """A ball stretched along large weights, after the original code.

    m = |w| + eta for tensors named weight, 1 for all others;  e = rho m^2 g / |m g|

    eta: added to |w| so that small weights still move. Shapes the ball of SAM, GSAM or SAGM.
    Kwon et al. 2021, arXiv 2102.11600, and its released code.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Kwon et al. 2021, arXiv 2102.11600"
    compares_domains: ClassVar[bool] = False

    eta: float = 0.01

    def __call__(self, update: Update) -> Update:
        return replace(update, metric=self.metric)

    def metric(self, weights: Weights) -> Tensor:
        metric = weights.flat.abs().add_(self.eta)
        for name, view in zip(weights.names, weights.views(metric), strict=True):
            if "weight" not in name:
                view.fill_(1)
        return metric


@dataclass(frozen=True)
class ElementwiseASAM:
    """A ball stretched along large weights, element by element.

    m = |w| for every parameter;  e = rho m^2 g / |m g|

    A zero bias is never perturbed. Shapes the ball of SAM, GSAM or SAGM. The form of davda54/sam
    and of the `adaptive` flag in the released codes of GSAM and SAGM.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Kwon et al. 2021, arXiv 2102.11600"
    compares_domains: ClassVar[bool] = False

    def __call__(self, update: Update) -> Update:
        return replace(update, metric=self.metric)

    def metric(self, weights: Weights) -> Tensor:
        return weights.flat.abs()
