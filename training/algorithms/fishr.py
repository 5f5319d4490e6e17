"""Fishr: invariant variances of gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.outputs import Outputs


@dataclass(frozen=True)
class Fishr:
    """A loss that pulls together the spread of the samples' gradients in all domains.

    L + lambda mean_i mean_k (u_i - u)_k^2,  u_i <- v_i + fishr_ema u_i,  u the mean of the u_i,
    lambda = 0 before the step fishr_anneal

    v_i: variance over domain i's samples of their gradients of each of the classifier's weights
    k. fishr_lambda: weight from step fishr_anneal on, when the optimizer's memory is cleared.
    fishr_ema: how much of the earlier variances is kept. Rame et al., ICML 2022, arXiv 2109.02934,
    as in DomainBed, where the three are called lambda, penalty_anneal_iters and ema.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Rame et al. 2022, arXiv 2109.02934"
    compares_domains: ClassVar[bool] = True
    least_samples: ClassVar[int] = 2  # a single gradient has no variance

    fishr_lambda: float = 1000.0
    fishr_anneal: int = 1500
    fishr_ema: float = 0.95

    def __call__(self, update: Update) -> Update:
        return replace(
            update,
            penalties=(*update.penalties, self.penalty),
            restarts=update.restarts | {self.fishr_anneal},
        )

    def penalty(self, outputs: Outputs, step: Step) -> Tensor:
        variances = gradient_variances(outputs)
        if "Fishr" in step.memory:
            # The running mean, ema u + (1 - ema) v, over 1 - ema: so the newest counts in full.
            variances = variances + self.fishr_ema * step.memory["Fishr"]
        step.remember("Fishr", variances)
        if step.number < self.fishr_anneal:
            return variances.new_zeros(())
        return self.fishr_lambda * variances.var(0, correction=0).mean()


def gradient_variances(outputs: Outputs) -> Tensor:
    """Variances [M, classes, D + 1] over a domain's samples of their gradients of the classifier.

    A sample's gradient is the outer product of a, its probabilities less its label, and z, its
    features and a 1 for the bias; so the mean of (a z)^2 is a product of matrices, as is that of
    a z, and no gradient of a sample is ever formed.
    """
    import torch.nn.functional as F

    errors = outputs.by_domain(outputs.errors).mT
    features = outputs.by_domain(F.pad(outputs.features, (0, 1), value=1.0))
    samples = features.shape[1]
    mean = errors @ features / samples
    return errors.square() @ features.square() / samples - mean.square()
