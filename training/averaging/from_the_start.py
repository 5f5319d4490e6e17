"""Averages in which the weights at the start may be a member: SMA, ERM++ and BMA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from training.averaging.running_mean import RunningMean

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass
class SMA:
    """Simple moving average: the mean of all weights since the update before a given one.

    After update t >= start it is the mean of w_(start-1), ..., w_t, where w_0 are the weights at
    the start of the run; before, it is w_t. Batch norm's running statistics are averaged by the
    same rule. start: the number of that update. Arpit et al. 2022, arXiv 2110.10832, as in the
    released code of EoA.
    """

    start: int = 100
    _mean: RunningMean = field(default_factory=RunningMean, init=False, repr=False)
    _statistics: RunningMean = field(default_factory=RunningMean, init=False, repr=False)

    ended = False
    runs_along: ClassVar[bool] = True  # it may be looked at after every step
    sees_batches: ClassVar[bool] = False

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

    def evaluated(self, loss: float) -> None:
        """The loss does not matter here."""

    def saw(self, statistics: Tensor) -> None:
        """The averaged network has moved its running statistics to these [B]; they are copied."""
        self._statistics.mean = statistics.clone()

    def result(self) -> Tensor:
        assert self._mean.mean is not None
        return self._mean.mean

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


@dataclass
class BMA:
    """Beta moving average: a mean of the whole run in which start and end may weigh most.

    After t of N updates it is sum_k a_k w_k / sum_k a_k over k = 0, ..., t, where w_0 are the
    weights at the start of the run and a_k is the density of Beta(beta, beta) at
    (k + 0.5) / (N + 1). Below 1 the start and the end weigh most, at 1 all weigh alike, above it
    the middle does. Shu et al. 2023 (CLIPood), arXiv 2302.00864.
    """

    beta: float = 0.5
    _mean: Tensor | None = field(default=None, init=False, repr=False)
    _total: float = field(default=0.0, init=False, repr=False)

    ended = False
    statistics = None

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"bma_beta must be above 0, but got {self.beta}")

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        at = (step + 0.5) / (steps + 1)
        weight = (4 * at * (1 - at)) ** (self.beta - 1)  # of the density in the middle
        self._total += weight
        if self._mean is None:
            self._mean = weights.clone()
        elif self._total > 0:  # else nothing had a weight yet that a float can hold
            self._mean.lerp_(weights, weight / self._total)

    def evaluated(self, loss: float) -> None:
        """The loss does not matter here."""

    def result(self) -> Tensor:
        assert self._mean is not None
        return self._mean

    def state(self) -> dict[str, Any]:
        mean = None if self._mean is None else self._mean.clone()
        return {"mean": mean, "total": self._total}

    def restore(self, state: Mapping[str, Any], device: device) -> None:
        mean = state["mean"]
        self._mean = None if mean is None else mean.to(device, copy=True)
        self._total = state["total"]
