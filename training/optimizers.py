"""Base optimizers, on the flat vector of weights.

They call torch.optim's fused kernels directly. The layers between (hooks, groups, profiling) serve
many parameters of many kinds; with one vector they took a quarter of a small model's step, and
two seconds of a worker's start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from models import torch_private


class Optimizer(Protocol):
    """Moves the weights that it was built on. `state` is saved and restored with a run.

    lr: of the steps to come; a schedule may set it before each.
    """

    lr: float

    @property
    def state(self) -> dict[str, Tensor]:
        """What it remembers, by name; the tensors themselves."""

    def step(self, gradient: Tensor) -> None:
        """One step along a gradient [P]."""


class Adam:
    """Adam (Kingma & Ba 2015) with torch's defaults; weight decay is coupled (L2).

    `decoupled`: AdamW (Loshchilov & Hutter 2019).
    """

    def __init__(
        self, weights: Tensor, lr: float, weight_decay: float, decoupled: bool = False
    ) -> None:
        self._weights = weights
        self._kernel = torch_private.fused_adamw if decoupled else torch_private.fused_adam
        self.lr, self._weight_decay = lr, weight_decay
        self.state = {
            "step": torch.zeros((), dtype=torch.float32, device=weights.device),
            "mean": torch.zeros_like(weights),
            "square": torch.zeros_like(weights),
        }

    def step(self, gradient: Tensor) -> None:
        """One step along a gradient [P]."""
        state = self.state
        state["step"] += 1
        self._kernel(
            [self._weights],
            [gradient],
            [state["mean"]],
            [state["square"]],
            [],
            [state["step"]],
            lr=self.lr,
            beta1=0.9,
            beta2=0.999,
            weight_decay=self._weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


class SGD:
    """Stochastic gradient descent; the momentum keeps a sum, as torch's does, not a mean.

    `nesterov`: the step goes on by the momentum once more (Sutskever et al. 2013).
    """

    def __init__(
        self,
        weights: Tensor,
        lr: float,
        weight_decay: float,
        momentum: float,
        nesterov: bool = False,
    ) -> None:
        self._weights = weights
        self.lr, self._weight_decay, self._momentum = lr, weight_decay, momentum
        self._nesterov = nesterov
        self.state = {"sum": torch.zeros_like(weights)} if momentum else {}

    def step(self, gradient: Tensor) -> None:
        """One step along a gradient [P]."""
        torch_private.fused_sgd(
            [self._weights],
            [gradient],
            list(self.state.values()),
            lr=self.lr,
            momentum=self._momentum,
            weight_decay=self._weight_decay,
            dampening=0.0,
            nesterov=self._nesterov,
            maximize=False,
            is_first_step=False,  # the first sum is 0 + gradient in any case
        )


# (weights [P], lr, weight_decay, momentum, nesterov) -> Optimizer
OPTIMIZERS: dict[str, Callable[[Tensor, float, float, float, bool], Optimizer]] = {
    "adam": lambda weights, lr, decay, *_: Adam(weights, lr, decay),
    "adamw": lambda weights, lr, decay, *_: Adam(weights, lr, decay, decoupled=True),
    "sgd": SGD,
}


def build(
    name: str,
    weights: Tensor,
    lr: float,
    weight_decay: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> Optimizer:
    """The optimizer of a vector of weights [P], which it changes in place.

    Weight decay is coupled (L2) for sgd and adam, decoupled for adamw; momentum and nesterov are
    sgd's alone. Raises ValueError for an unknown name, a negative number, or nesterov without a
    momentum.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; there are: {', '.join(OPTIMIZERS)}")
    for what, value in {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}.items():
        if not value >= 0:
            raise ValueError(f"{what} must not be negative, but got {value}")
    if nesterov and not momentum:
        raise ValueError("nesterov needs a momentum above 0, but it is 0")
    return OPTIMIZERS[name](weights, lr, weight_decay, momentum, nesterov)
