"""Base optimizers, on the flat vector of weights.

They call torch.optim's fused kernels directly. The layers between (hooks, groups, profiling) serve
many parameters of many kinds; with one vector they took a quarter of a small model's step, and
two seconds of a worker's start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from models import torch_private
from training.draws import Draws
from training.hyperparameters import of_optimizer


class Optimizer(Protocol):
    """Moves the weights that it was built on. `state` is saved and restored with a run.

    lr: of the steps to come; a schedule may set it before each.
    """

    lr: float

    @property
    def state(self) -> dict[str, Tensor]:
        """What it remembers, by name; the tensors themselves."""

    def step(self, gradient: Tensor, draws: Draws | None = None) -> None:
        """One step along a gradient [P]; draws: those of the run's step, which only GENIE needs."""


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

    def step(self, gradient: Tensor, draws: Draws | None = None) -> None:
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

    def step(self, gradient: Tensor, draws: Draws | None = None) -> None:
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


class GENIE:
    """Steps that scale each weight's mean gradient by how sure it is, with noise where it is not.

    m, s: running means of g and g^2, each over c = 1 - b^t; mu = m / c;
    r = (1 - b) (2 - c) / ((1 + b) c), of the variance of mu in that of g
    V = (s / c - mu^2) / (1 - r), at least 1e-8;  a = tanh(min(1 / V, 10))
    q = 1 / (1 + r V / (mu^2 + 1e-8));  k = sum(a |mu| q) / sum(a), of each tensor
    w <- w - lr (mu q a + N(0, 1) k (1 - a)) [U(0, 1) > p] / (1 - p)

    average: b. drop: p. g includes the weight decay. sizes: numbers in each tensor. In the first
    step V is 0 / 0, and 1e-8 here. GENIE (ICML 2025), as the optimizer of its released code, where
    lr is called convergence_rate.
    """

    def __init__(
        self,
        weights: Tensor,
        lr: float,
        weight_decay: float,
        sizes: Sequence[int],
        *,
        average: float,
        drop: float,
    ) -> None:
        self._weights, self._sizes = weights, list(sizes)
        self.lr, self._weight_decay = lr, weight_decay
        self._average, self._drop = average, drop
        self.state = {
            "step": torch.zeros((), dtype=torch.float32, device="cpu"),  # read without waiting
            "mean": torch.zeros_like(weights),
            "square": torch.zeros_like(weights),
        }

    def step(self, gradient: Tensor, draws: Draws | None = None) -> None:
        """One step along a gradient [P]."""
        assert draws is not None
        b, state = self._average, self.state
        state["step"] += 1
        gradient = gradient.add(self._weights, alpha=self._weight_decay)
        mean = state["mean"].lerp_(gradient, 1 - b)
        square = state["square"].mul_(b).addcmul_(gradient, gradient, value=1 - b)
        seen = 1 - b ** int(state["step"])
        share = (1 - b) * (2 - seen) / ((1 + b) * seen)
        mean = mean / seen
        variance = self.variance(mean, square / seen, share)
        sure = variance.reciprocal().clamp_max(10).tanh()
        kept = 1 / (1 + _above_zero(share * variance) / (mean.square() + LEAST))
        steady = mean * kept
        each = [torch.split(own, self._sizes) for own in (sure * steady.abs(), sure)]
        noise = torch.stack([own.sum() / of.sum() for own, of in zip(*each, strict=True)])
        sizes = torch.tensor(self._sizes, device=noise.device)
        noise = noise.repeat_interleave(sizes, output_size=len(mean)) * (1 - sure)
        step = steady.mul_(sure).addcmul_(draws.normal(mean), noise)
        step *= draws.uniform(mean) > self._drop
        self._weights.sub_(step, alpha=self.lr / (1 - self._drop))

    def variance(self, mean: Tensor, square: Tensor, share: float) -> Tensor:
        """Of each number's gradients [P]."""
        if int(self.state["step"]) == 1:
            return torch.full_like(mean, LEAST)
        return _above_zero((square - mean.square()) / (1 - share))


LEAST = 1e-8


def _above_zero(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, LEAST)


# (weights [P], lr, weight_decay, momentum, nesterov) -> Optimizer
OPTIMIZERS: dict[str, Callable[[Tensor, float, float, float, bool], Optimizer]] = {
    "adam": lambda weights, lr, decay, *_: Adam(weights, lr, decay),
    "adamw": lambda weights, lr, decay, *_: Adam(weights, lr, decay, decoupled=True),
    "sgd": SGD,
}

NAMES = (*OPTIMIZERS, "genie")


def build(
    name: str,
    weights: Tensor,
    lr: float,
    weight_decay: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    *,
    sizes: Sequence[int] = (),
    numbers: Mapping[str, float] | None = None,
) -> Optimizer:
    """The optimizer of a vector of weights [P], which it changes in place.

    Weight decay is coupled (L2) for sgd, adam and genie, decoupled for adamw; momentum and nesterov
    are sgd's alone. sizes: numbers in each tensor of the vector; it is one if they are left out.
    numbers: of `of_optimizer`, by name; those that are left out have their defaults.

    Raises ValueError for an unknown name, a number out of range, or nesterov without a momentum.
    """
    if name not in NAMES:
        raise ValueError(f"unknown optimizer {name!r}; there are: {', '.join(NAMES)}")
    for what, value in {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}.items():
        if not value >= 0:
            raise ValueError(f"{what} must not be negative, but got {value}")
    if nesterov and not momentum:
        raise ValueError("nesterov needs a momentum above 0, but it is 0")
    if name in OPTIMIZERS:
        return OPTIMIZERS[name](weights, lr, weight_decay, momentum, nesterov)
    own = of_optimizer(name) | dict(numbers or {})
    for what, value in own.items():
        if not 0 <= value < 1:
            raise ValueError(f"0 <= {what} < 1 must hold, but got {value}")
    average, drop = own["genie_average"], own["genie_drop"]
    return GENIE(weights, lr, weight_decay, sizes or [len(weights)], average=average, drop=drop)
