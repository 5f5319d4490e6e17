"""Mixup of domains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from datasets.batches import DomainBatch


@dataclass(frozen=True)
class Mixup:
    """Images that are mixtures of two domains, with the labels of both.

    x = s x_i + (1 - s) x_j,  loss = s CE(., y_i) + (1 - s) CE(., y_j),  s ~ Beta(alpha, alpha)

    The domains form a ring in random order, and each is mixed with the next, with a share s of
    its own; drawn once in a step. mixup_alpha: near 0 images stay almost pure, 1 makes all shares
    as likely. Yan et al. 2020, arXiv 2001.00677, as in DomainBed.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Yan et al. 2020, arXiv 2001.00677"
    compares_domains: ClassVar[bool] = True

    mixup_alpha: float = 0.2

    def __call__(self, update: Update) -> Update:
        return replace(update, mix=self.mix, apart=True)

    def mix(self, batch: DomainBatch, step: Step) -> DomainBatch:
        import torch
        import torch.nn.functional as F

        if len(set(batch.sizes)) > 1:
            raise ValueError(f"Mixup needs as many samples of each domain, not {batch.sizes}")
        order = step.draws.permutation(len(batch.sizes))
        ring = list(pairwise([*order, order[0]]))
        # Shares are plain numbers: nothing goes to the device, and nothing waits for it.
        shares = [step.draws.beta(self.mixup_alpha) for _ in ring]

        def mixed(values: Tensor) -> Tensor:
            pure = torch.split(values, list(batch.sizes))
            result = torch.empty_like(values)  # in the order in memory that the model is used to
            blocks = torch.split(result, list(batch.sizes))
            for block, (i, j), share in zip(blocks, ring, shares, strict=True):
                torch.lerp(pure[j], pure[i], share, out=block)
            return result

        labels = F.one_hot(batch.y, step.passes.classes).to(batch.x.dtype)
        return replace(batch, x=mixed(batch.x), y=mixed(labels))
