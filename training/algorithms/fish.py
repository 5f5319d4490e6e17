"""Fish: gradient matching by small steps from domain to domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.passes import Passes


@dataclass(frozen=True)
class Fish:
    """A walk of one small step in each domain, of which the weights go a part of the way.

    w' = w, then w' <- U(w', grad L_i(w')) for each domain i in turn,  w <- w + meta_lr (w' - w)

    To first order it raises the inner products of the domains' gradients. U: the base optimizer,
    whose memory goes on from step to step; a small step is that of the other parts (Fish+SAM).
    meta_lr: part of the way; 1 is training on one domain after another. Running statistics of
    batch norm go the same part of theirs. Shi et al. 2021, arXiv 2104.09937, algorithm 1, as in
    DomainBed.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Shi et al. 2021, arXiv 2104.09937"
    compares_domains: ClassVar[bool] = False

    meta_lr: float = 0.5

    def __call__(self, update: Update) -> Update:
        return replace(update, walk=self.walk)

    def walk(self, step: Step, stride: Callable[[Passes], list[Tensor]]) -> list[Tensor]:
        import torch

        moving = [step.weights.flat, *step.passes.statistics]
        before = [tensor.clone() for tensor in moving]
        try:
            values = [value for passes in step.passes.by_domain() for value in stride(passes)]
        except BaseException:
            for tensor, origin in zip(moving, before, strict=True):
                tensor.copy_(origin)
            raise
        for tensor, origin in zip(moving, before, strict=True):
            torch.lerp(origin, tensor, self.meta_lr, out=tensor)
        return values
