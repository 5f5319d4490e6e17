"""Gradient-guided annealing: search for weights where the domains' gradients agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from training.update import Step, Update


@dataclass(frozen=True)
class GGA:
    """A random search, early in training, for weights where the domains' gradients agree.

    In the steps start .. start + length, before the ordinary step: from w0, noise U(-neighborhood,
    neighborhood) is added to the featurizer again and again, `search_steps` times; a point is kept
    if the smallest cosine between two domains' gradients grows and the loss rises by less than
    `tolerance` over that of the last point kept. After a point is kept the walk starts again at w0;
    after a refusal it goes on from where it is, as in the released code.

    neighborhood: in units of the weights. start, length: steps, counted from 0; both ends
    included. An annealed step costs (search_steps + 1) (1 + 1/3) + 1 passes. Ballas & Diou, CVPR
    2025, arXiv 2502.20162.
    """

    cost: ClassVar[str] = "1; about 336 in its window"
    paper: ClassVar[str] = "Ballas & Diou 2025, arXiv 2502.20162"
    compares_domains: ClassVar[bool] = True

    neighborhood: float = 1e-5
    search_steps: int = 250
    start: int = 100
    length: int = 100
    tolerance: float = 0.1

    def __call__(self, update: Update) -> Update:
        return replace(update, before=self.search)

    def search(self, step: Step) -> None:
        if not self.start <= step.number <= self.start + self.length:
            return
        passes = step.passes
        walker = step.weights.flat[step.weights.featurizer]
        with step.weights.displaced() as saved:
            origin = saved[step.weights.featurizer]
            kept = origin.clone()
            similarity = pair_cosines(passes.domain_gradients()).min()
            loss = passes.loss()
            for _ in range(self.search_steps):
                walker.add_((2 * step.draws.uniform(walker) - 1).mul_(self.neighborhood))
                new_similarity = pair_cosines(passes.domain_gradients()).min()
                new_loss = passes.loss()
                # Decided on the device: reading the outcome would wait for a GPU every time.
                keep = (new_similarity > similarity) & (new_loss - loss < self.tolerance)
                similarity = torch.where(keep, new_similarity, similarity)
                loss = torch.where(keep, new_loss, loss)
                kept = torch.where(keep, walker, kept)
                walker.copy_(torch.where(keep, origin, walker))
        walker.copy_(kept)


@dataclass(frozen=True)
class GGAL:
    """Noise on the gradient wherever the domains' gradients disagree.

    d = g + gamma (1 - s) xi,  xi ~ N(0, I) in every step,  s the mean cosine of pairs of domains

    gamma: standard deviation of the noise where s = 0; 0 is ERM. Ballas & Diou, CVPR 2025,
    arXiv 2502.20162, with the released code's normal draws.
    """

    cost: ClassVar[str] = "2"
    paper: ClassVar[str] = "Ballas & Diou 2025, arXiv 2502.20162"
    compares_domains: ClassVar[bool] = True

    gamma: float = 1e-3

    def __call__(self, update: Update) -> Update:
        return replace(update, refine=self.refine)

    def refine(self, gradient: Tensor, step: Step) -> Tensor:
        similarity = pair_cosines(step.passes.domain_gradients()).mean()
        return gradient.addcmul_(step.draws.normal(gradient), self.gamma * (1 - similarity))


def pair_cosines(gradients: Tensor) -> Tensor:
    """Cosines [M (M - 1) / 2] between the rows of [M, P]; norms are floored at 1e-8.

    Raises ValueError for a single row: one domain has nothing to agree with.
    """
    count = len(gradients)
    if count < 2:
        raise ValueError("GGA compares the gradients of domains and needs at least two of them")
    products = gradients @ gradients.T
    norms = products.diagonal().sqrt().clamp_min(1e-8)
    first, second = torch.triu_indices(count, count, offset=1, device=gradients.device)
    return (products / norms.outer(norms))[first, second]
