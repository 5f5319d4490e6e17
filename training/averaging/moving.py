"""Averages that ask for nothing but the weights: SWA and EMA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from training.averaging.running_mean import RunningMean

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass
class SWA:
    """Stochastic weight averaging: the mean of the weights from a part of the run on.

    start: the fraction of the run before the first. every: updates between two; the last update is
    always among them. Izmailov et al. 2018, arXiv 1803.05407. SMA begins after a number of
    updates instead.
    """

    start: float = 0.75
    every: int = 1
    _mean: RunningMean = field(default_factory=RunningMean, init=False, repr=False)

    ended = False
    statistics = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise ValueError(f"0 <= swa_start < 1 must hold, but got {self.start}")
        if self.every < 1:
            raise ValueError(f"swa_every must be at least 1, but got {self.every}")

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        if step > self.start * steps and (steps - step) % self.every == 0:
            self._mean.add(weights)

    def evaluated(self, loss: float) -> None:
        """The loss does not matter here."""

    def result(self) -> Tensor:
        assert self._mean.mean is not None
        return self._mean.mean

    def state(self) -> dict[str, Any]:
        return self._mean.state()

    def restore(self, state: Mapping[str, Any], device: device) -> None:
        self._mean = RunningMean.of(dict(state), device)


@dataclass
class EMA:
    """Exponential moving average: mean <- decay mean + (1 - decay) w after each update.

    It starts from the weights after the first update. Tarvainen & Valpola 2017, arXiv 1703.01780;
    as torch.optim.swa_utils.get_ema_avg_fn.
    """

    decay: float = 0.999
    _mean: Tensor | None = field(default=None, init=False, repr=False)

    ended = False
    statistics = None

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"0 <= ema_decay < 1 must hold, but got {self.decay}")

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        if step == 0:
            return
        if self._mean is None:
            self._mean = weights.clone()
        else:
            self._mean.lerp_(weights, 1 - self.decay)

    def evaluated(self, loss: float) -> None:
        """The loss does not matter here."""

    def result(self) -> Tensor:
        assert self._mean is not None
        return self._mean

    def state(self) -> dict[str, Any]:
        return {"mean": None if self._mean is None else self._mean.clone()}

    def restore(self, state: Mapping[str, Any], device: device) -> None:
        mean = state["mean"]
        self._mean = None if mean is None else mean.to(device, copy=True)
