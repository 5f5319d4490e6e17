"""LoRA: attention whose weights move within a small set of directions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

# Matrices that attention holds itself, not in a linear layer (nn.MultiheadAttention).
PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


class LowRank(nn.Module):
    """W = W_0 + (alpha / rank) B A, of which B [out, rank] and A [rank, in] learn.

    B begins at 0, so training begins at W_0, and A at N(0, 1 / in). Hu et al. 2021, arXiv
    2106.09685, section 4.1. Queries, keys and values that one matrix holds share one pair.
    """

    def __init__(self, matrix: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        out, width = matrix.shape
        self.scale = alpha / rank
        self.a = nn.Parameter(torch.randn(rank, width) / width**0.5)
        self.b = nn.Parameter(torch.zeros(out, rank))

    def forward(self, matrix: Tensor) -> Tensor:
        """The matrix with the low-rank one added."""
        return torch.addmm(matrix, self.b, self.a, alpha=self.scale)


def places(network: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Each matrix of an attention: the module that holds it, and its name there."""
    for path, module in network.named_modules():
        if not any("attn" in part or "attention" in part for part in path.split(".")):
            continue
        if isinstance(module, nn.Linear):
            yield module, "weight"
        for name in PROJECTIONS:
            if isinstance(getattr(module, name, None), nn.Parameter):
                yield module, name


def adapt(network: nn.Module, rank: int, alpha: float) -> None:
    """Freezes the network but for a new pair beside each matrix of its attentions."""
    network.requires_grad_(False)
    for module, name in list(places(network)):
        pair = LowRank(getattr(module, name), rank, alpha)
        parametrize.register_parametrization(module, name, pair)
