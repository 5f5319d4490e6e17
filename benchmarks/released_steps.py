"""A plain re-implementation of SAM's and SAGM's step, with the habits of the released codes.

A Python loop over the parameters for each bit of arithmetic, an optimizer around the optimizer,
torch's default Adam, and the loss read in every step. For comparison only: step_cost.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.batches import DomainBatch
from models.network import Network
from models.torch_private import BatchNorm


class Outer(torch.optim.Optimizer):
    """What SAM and SAGM have in common: an optimizer around another."""

    def __init__(self, model: Network, lr: float) -> None:
        super().__init__(model.parameters(), {})
        self.model = model
        self.base = torch.optim.Adam(model.parameters(), lr=lr)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"] if p.grad is not None]

    def norm(self) -> Tensor:
        norms = [(1.0 * p.grad).norm(p=2) for p in self.parameters if p.grad is not None]
        total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return total


class SAM(Outer):
    """Two passes, as in davda54/sam."""

    @torch.no_grad()
    def climb_up(self, rho: float) -> None:
        scale = rho / (self.norm() + 1e-12)
        for p in self.parameters:
            assert p.grad is not None
            climb = p.grad * scale.to(p)
            p.add_(climb)
            self.state[p]["climb"] = climb
        self.zero_grad()

    @torch.no_grad()
    def descend(self) -> None:
        for p in self.parameters:
            p.sub_(self.state[p]["climb"])
        self.base.step()
        self.zero_grad()


class SAGM(Outer):
    """Two passes and their mean, as in Wang-pengfei/SAGM."""

    @torch.no_grad()
    def step(self, backward: Callable[[], Tensor], rho: float, alpha: float) -> Tensor:  # type: ignore[override]
        loss = backward()
        scale = rho / (self.norm() + 1e-12) - alpha
        for p in self.parameters:
            assert p.grad is not None
            self.state[p]["before"] = p.grad.data.clone()
            climb = p.grad * scale.to(p)
            p.add_(climb)
            self.state[p]["climb"] = climb
        self.model.apply(hold_statistics)
        backward()
        for p in self.parameters:
            assert p.grad is not None
            p.grad.data.add_(self.state[p]["before"] * 0.5 - p.grad * 0.5)
        for p in self.parameters:
            p.data.sub_(self.state[p]["climb"])
        self.base.step()
        self.model.apply(release_statistics)
        return loss


def hold_statistics(module: nn.Module) -> None:
    if isinstance(module, BatchNorm):
        module.kept_momentum = module.momentum  # type: ignore[spec]
        module.momentum = 0


def release_statistics(module: nn.Module) -> None:
    if isinstance(module, BatchNorm) and hasattr(module, "kept_momentum"):
        module.momentum = module.kept_momentum  # type: ignore[spec]


def erm(model: Network, batch: DomainBatch, lr: float) -> Callable[[], None]:
    """DomainBed's ERM: a list of each domain's images, one pass, Adam, and the loss read."""
    adam = torch.optim.Adam(model.parameters(), lr=lr)
    xs, ys = by_domain(batch)

    def step() -> None:
        loss = F.cross_entropy(model(torch.cat(xs)), torch.cat(ys))
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        loss.item()

    return step


def sam(model: Network, batch: DomainBatch, lr: float) -> Callable[[], None]:
    outer = SAM(model, lr)
    xs, ys = by_domain(batch)

    def step() -> None:
        x, y = torch.cat(xs), torch.cat(ys)
        loss = F.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        outer.climb_up(0.05)
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        outer.descend()
        loss.item()

    return step


def sagm(model: Network, batch: DomainBatch, lr: float) -> Callable[[], None]:
    outer = SAGM(model, lr)
    xs, ys = by_domain(batch)

    def step() -> None:
        x, y = torch.cat(xs), torch.cat(ys)

        def backward() -> Tensor:
            outer.base.zero_grad()
            with torch.enable_grad():
                loss = F.cross_entropy(model(x), y)
            value = loss.data.clone().detach()
            loss.backward()  # type: ignore[no-untyped-call]
            return value

        outer.step(backward, 0.05, 0.001).item()

    return step


# What each takes: (model, batch, lr) -> a step.
WAYS: dict[str, Callable[[Network, DomainBatch, float], Callable[[], None]]] = {
    "ERM": erm,
    "SAM": sam,
    "SAGM": sagm,
}


def by_domain(batch: DomainBatch) -> tuple[list[Tensor], list[Tensor]]:
    """Copies [domain][n, ...] of a batch, as the codes' loaders hand them over."""
    sizes = list(batch.sizes)
    xs, ys = torch.split(batch.x, sizes), torch.split(batch.y, sizes)
    return [x.contiguous() for x in xs], list(ys)
