"""Features that are distributed alike in every domain: CORAL and MMD."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from training.update import Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from training.outputs import Outputs

WIDTHS = (0.001, 0.01, 0.1, 1, 10, 100, 1000)  # of MMD's kernel, in DomainBed


@dataclass(frozen=True)
class CORAL:
    """A loss that pulls together the means and covariances of the features of all domains.

    L + coral_gamma mean over pairs of domains of [mean (mu_i - mu_j)^2 + mean (C_i - C_j)^2]

    mu, C: mean and covariance of a domain's features in the batch. Sun & Saenko 2016, arXiv
    1607.01719, as in DomainBed (arXiv 2007.01434), where coral_gamma is called mmd_gamma.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Sun & Saenko 2016, arXiv 1607.01719"
    compares_domains: ClassVar[bool] = True
    least_samples: ClassVar[int] = 2

    coral_gamma: float = 1.0

    def __call__(self, update: Update) -> Update:
        return replace(update, penalties=(*update.penalties, self.penalty), apart=True)

    def penalty(self, outputs: Outputs, step: Step) -> Tensor:
        features = outputs.by_domain(outputs.features)
        _, samples, width = features.shape
        if samples < 2:
            raise ValueError("CORAL needs at least 2 samples of each domain in a batch, but got 1")
        means = features.mean(1, keepdim=True)
        scaled = (features - means) / (samples - 1) ** 0.5
        # <C_i, C_j> by the products of samples: there are fewer of them than pairs of features.
        rows = scaled.flatten(0, 1)
        alike = block_means((rows @ rows.T).square(), samples) * samples**2
        of_means = (means - means.mean(0)).flatten(1)
        gap = pair_gap(of_means @ of_means.T) / width + pair_gap(alike) / width**2
        return self.coral_gamma * gap


@dataclass(frozen=True)
class MMD:
    """A loss that pulls together the distributions of the features of all domains.

    L + mmd_gamma mean over pairs of domains of [K_ii + K_jj - 2 K_ij],
    K_ij the mean over their samples of sum_s exp(-s |z - z'|^2), s = 0.001, 0.01, .. 1000

    Li et al., CVPR 2018, as in DomainBed (Gulrajani & Lopez-Paz 2021, arXiv 2007.01434), without
    the adversary.
    """

    cost: ClassVar[float] = 1
    paper: ClassVar[str] = "Li et al. 2018 (CVPR), as in DomainBed, arXiv 2007.01434"
    compares_domains: ClassVar[bool] = True

    mmd_gamma: float = 1.0

    def __call__(self, update: Update) -> Update:
        return replace(update, penalties=(*update.penalties, self.penalty), apart=True)

    def penalty(self, outputs: Outputs, step: Step) -> Tensor:
        import torch

        samples = outputs.by_domain(outputs.features).shape[1]
        features = outputs.features
        squares = features.square().sum(1)
        distances = squares + squares[:, None] - 2 * features @ features.T
        # Rounding may make them negative, and keeps a sample away from itself.
        distances = distances.clamp_min(0).fill_diagonal_(0)
        kernel = torch.zeros_like(distances)
        for width in WIDTHS:
            kernel = kernel + (-width * distances).exp()
        return self.mmd_gamma * pair_gap(block_means(kernel, samples))


def block_means(products: Tensor, samples: int) -> Tensor:
    """Means [M, M] of the blocks that pairs of domains have in a matrix [M n, M n]; n samples."""
    domains = len(products) // samples
    return products.view(domains, samples, domains, samples).mean((1, 3))


def pair_gap(inner: Tensor) -> Tensor:
    """Mean of |a_i - a_j|^2 over the pairs i < j, [], of inner products <a_i, a_j>, [M, M].

    By M sum_i <a_i, a_i> - sum_ij <a_i, a_j>; 0 if there are no pairs.
    """
    count = len(inner)
    pairs = max(count * (count - 1) // 2, 1)
    return (count * inner.trace() - inner.sum()) / pairs
