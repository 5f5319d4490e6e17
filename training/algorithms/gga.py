"""Gradient-guided annealing: search for weights where the domains' gradients agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.passes import Passes
    from training.update import Refinement

BLOCK = 1024  # numbers that are added up at a time


@dataclass(frozen=True)
class GGA:
    """A random search, early in training, for weights where the domains' gradients agree.

    In the steps start .. start + length, before the ordinary step: from w0, noise U(-neighborhood,
    neighborhood) is added to the featurizer again and again, `search_steps` times; a point is kept
    if the smallest cosine between two domains' gradients grows and the loss rises by less than
    `tolerance` over that of the last point kept. After a point is kept the walk starts again at w0;
    after a refusal it goes on from where it is, as in the released code.

    neighborhood: in units of the weights. start, length: steps, counted from 0; both ends
    included. An annealed step costs search_steps + 2 passes; with dropout, or batch norm that is
    not frozen, (search_steps + 1) (1 + 1/3) + 1. Ballas & Diou, CVPR 2025, arXiv 2502.20162.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Ballas & Diou 2025, arXiv 2502.20162"
    compares_domains: ClassVar[bool] = True

    neighborhood: float = 1e-5
    search_steps: int = 250
    start: int = 100
    length: int = 100
    tolerance: float = 0.1

    def __call__(self, update: Update) -> Update:
        return replace(update, before=self.search)

    def annealed_cost(self, redrawn: bool) -> float:
        """Passes of a step in the window.

        redrawn: with dropout, or batch norm that is not frozen.
        """
        per_point = 1 + 1 / 3 if redrawn else 1
        return (self.search_steps + 1) * per_point + 1

    def search(self, step: Step) -> None:
        import torch

        if not self.start <= step.number <= self.start + self.length:
            return
        walker = step.weights.flat[step.weights.featurizer]
        noise = torch.empty_like(walker)
        with step.weights.displaced() as saved:
            origin = saved[step.weights.featurizer]
            kept = origin.clone()
            similarity, loss = agreement(step.passes)
            for _ in range(self.search_steps):
                step.draws.uniform(walker, out=noise)
                walker.add_(noise.sub_(0.5), alpha=2 * self.neighborhood)
                new_similarity, new_loss = agreement(step.passes)
                keep = (new_similarity > similarity) & (new_loss - loss < self.tolerance)
                copy_if(keep, similarity, new_similarity)
                copy_if(keep, loss, new_loss)
                copy_if(keep, kept, walker)
                copy_if(keep, walker, origin)
        walker.copy_(kept)


def agreement(passes: Passes) -> tuple[Tensor, Tensor]:
    """Smallest cosine [] of two domains' gradients, and the mean loss []."""
    losses, gradients = passes.domain_gradients()
    return pair_cosines(gradients).min(), passes.loss(losses)


def copy_if(condition: Tensor, target: Tensor, source: Tensor) -> None:
    """Sets target <- source if the condition [] holds."""
    if condition.device.type == "cpu":
        if condition:
            target.copy_(source)
    else:  # to read the condition would wait for the GPU
        import torch

        torch.where(condition, source, target, out=target)


@dataclass(frozen=True)
class GGAL:
    """Noise on the gradient wherever the domains' gradients disagree.

    d = g + gamma (1 - s) xi,  xi ~ N(0, I) in every step,  s the mean cosine of pairs of domains

    gamma: standard deviation of the noise where s = 0; 0 is ERM. Ballas & Diou, CVPR 2025,
    arXiv 2502.20162, with the released code's normal draws.
    """

    cost: ClassVar[float] = 2
    paper: ClassVar[str] = "Ballas & Diou 2025, arXiv 2502.20162"
    compares_domains: ClassVar[bool] = True

    gamma: float = 1e-3

    def __call__(self, update: Update) -> Update:
        return replace(update, refine=self.refine)

    def refine(self, step: Step) -> Refinement:
        # Before the pass over all samples, as in the released code: batch norm that looks at the
        # batch remembers the last pass best.
        similarity = pair_cosines(step.passes.domain_gradients()[1]).mean()
        share = self.gamma * (1 - similarity)
        return lambda gradient: gradient.addcmul_(step.draws.normal(gradient), share)


def pair_cosines(gradients: Tensor) -> Tensor:
    """Cosines [M (M - 1) / 2] between the rows of [M, P]; norms are floored at 1e-8.

    Raises ValueError for a single row: one domain has nothing to agree with.
    """
    import torch

    count = len(gradients)
    if count < 2:
        raise ValueError("GGA compares the gradients of domains and needs at least two of them")
    products = inner_products(gradients)
    norms = products.diagonal().sqrt().clamp_min(1e-8)
    cosines = products / norms.outer(norms)
    return torch.cat([row[first + 1 :] for first, row in enumerate(cosines)])


def inner_products(rows: Tensor) -> Tensor:
    """Inner products [M, M] of the rows of [M, P].

    Block by block: on a CPU one product of matrices adds up in float32 one by one, and with 11
    million numbers takes twice as long and is off by one part in ten thousand.
    """
    import torch

    count = rows.shape[1] // BLOCK
    whole, rest = rows[:, : count * BLOCK], rows[:, count * BLOCK :]
    blocks = torch.unflatten(whole, 1, (count, BLOCK)).transpose(0, 1)
    return (blocks @ blocks.transpose(1, 2)).sum(0) + rest @ rest.T
