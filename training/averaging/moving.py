"""Averages that follow a rule of their own, whatever the loss: SWA, EMA, BMA, SMA and ERM++."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from training.averaging.average import MeanAveraging, RunningMean

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass
class SWA(MeanAveraging):
    """Stochastic weight averaging: the mean of the weights from a part of the run on.

    start: the fraction of the run before the first. every: updates between two; the last update is
    always among them. Izmailov et al. 2018, arXiv 1803.05407. SMA begins after a number of
    updates instead.
    """

    start: float = 0.75
    every: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1:
            raise ValueError(f"0 <= swa_start < 1 must hold, but got {self.start}")
        if self.every < 1:
            raise ValueError(f"swa_every must be at least 1, but got {self.every}")

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        if step > self.start * steps and (steps - step) % self.every == 0:
            self._mean.add(weights)


@dataclass
class EMA(MeanAveraging):
    """Exponential moving average: mean <- decay mean + (1 - decay) w after each update.

    It starts from the weights after the first update. Tarvainen & Valpola 2017, arXiv 1703.01780;
    as torch.optim.swa_utils.get_ema_avg_fn.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise ValueError(f"0 <= ema_decay < 1 must hold, but got {self.decay}")

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        if step > 0:
            self._mean.add(weights, 1 - self.decay)


@dataclass
class BMA(MeanAveraging):
    """Beta moving average: a mean of the whole run in which start and end may weigh most.

    After t of N updates it is sum_k a_k w_k / sum_k a_k over k = 0, ..., t, where w_0 are the
    weights at the start of the run and a_k is the density of Beta(beta, beta) at
    (k + 0.5) / (N + 1). Below 1 the start and the end weigh most, at 1 all weigh alike, above it
    the middle does. Shu et al. 2023 (CLIPood), arXiv 2302.00864.
    """

    beta: float = 0.5
    _total: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"bma_beta must be above 0, but got {self.beta}")

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        at = (step + 0.5) / (steps + 1)
        weight = (4 * at * (1 - at)) ** (self.beta - 1)  # of the density in the middle
        self._total += weight
        # Until a weight is one that a float can hold, the mean stays at the start.
        self._mean.add(weights, weight / self._total if self._total else 0.0)

    def state(self) -> dict[str, Any]:
        return super().state() | {"total": self._total}

    def restore(self, state: Mapping[str, Any], device: device) -> None:
        super().restore(state, device)
        self._total = state["total"]


@dataclass
class SMA(MeanAveraging):
    """Simple moving average: the mean of all weights since the update before a given one.

    After update t >= start it is the mean of w_(start-1), ..., w_t, where w_0 are the weights at
    the start of the run; before, it is w_t. Batch norm's running statistics are averaged by the
    same rule. start: the number of that update. Arpit et al. 2022, arXiv 2110.10832, as in the
    released code of EoA.
    """

    start: int = 100
    _statistics: RunningMean = field(default_factory=RunningMean, init=False, repr=False)

    runs_along: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.start < 1:
            raise ValueError(
                f"the start of a moving average must be at least 1, but got {self.start}"
            )

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        given = (self._mean, weights), (self._statistics, statistics)
        for mean, vector in given:
            if vector is not None:
                if step < self.start:
                    mean.count = 0
                mean.add(vector)

    def saw(self, statistics: Tensor) -> None:
        self._statistics.mean = statistics.clone()

    @property
    def statistics(self) -> Tensor | None:
        return self._statistics.mean

    def state(self) -> dict[str, Any]:
        return {"weights": self._mean.state(), "statistics": self._statistics.state()}

    def restore(self, state: Mapping[str, Any], device: device) -> None:
        self._mean = RunningMean.of(state["weights"], device)
        self._statistics = RunningMean.of(state["statistics"], device)


@dataclass
class ERMPP(SMA):
    """A moving average of the weights, in training that starts from a linear probe.

    After update t >= start it is the mean of w_(start-1), ..., w_t; before, it is w_t. Where batch
    norm is not frozen, the averaged network sees each batch once more, and its running statistics
    go on from there (a third of a pass). start: the number of that update, not counting the 501 of
    the probe; with them 99 is the 600th. Teterwak et al., WACV 2025, arXiv 2304.01973, as the
    class of DomainBed at b93c22a.
    """

    start: int = 99

    sees_batches: ClassVar[bool] = True
