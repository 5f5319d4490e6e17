"""What every average of the weights has, and the mean that most of them keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, device


class Averaging(ABC):
    """Is told of each step and of each evaluation; holds no weights but its own.

    ended: whether training on would not change the average. runs_along: whether `result` may be
    asked for after every step. sees_batches: whether the averaged network is to see the batch of
    each step, too; `saw` then gets its running statistics.
    """

    ended: bool = False
    runs_along: ClassVar[bool] = False
    sees_batches: ClassVar[bool] = False

    @abstractmethod
    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        """The weights [P] after `step` of `steps` updates, step 0 being the start; they are copied.

        statistics: batch norm's running statistics [B] at that step; None if they never change.
        """

    def evaluated(self, loss: float) -> None:  # noqa: B027 - most do not look at the loss
        """The latest weights have this validation loss."""

    def saw(self, statistics: Tensor) -> None:
        """The averaged network has moved its running statistics to these [B]; they are copied."""
        raise NotImplementedError

    @abstractmethod
    def result(self) -> Tensor:
        """The averaged weights [P]; not a promise of which device they are on."""

    @property
    def statistics(self) -> Tensor | None:
        """The averaged running statistics [B]; None if it averages weights alone."""
        return None

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that it remembers, as tensors and plain values that stay as they are."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any], device: device) -> None:
        """Goes on from a state, which stays as it is."""


@dataclass
class RunningMean:
    """The mean [P] of `count` vectors. A mean that it begins with does not count."""

    mean: Tensor | None = None
    count: int = 0

    def add(self, vector: Tensor, share: float | None = None) -> None:
        """Takes in a vector [P]: mean += share (v - mean); the first one is the mean.

        share: 1 / n if None, as torch.optim.swa_utils.AveragedModel.
        """
        if self.mean is None or self.count == 0:
            self.mean = vector.clone()
        else:
            self.mean.lerp_(vector, 1 / (self.count + 1) if share is None else share)
        self.count += 1

    def copy(self) -> RunningMean:
        return RunningMean(None if self.mean is None else self.mean.clone(), self.count)

    def state(self) -> dict[str, Any]:
        return vars(self.copy())

    @staticmethod
    def of(state: Mapping[str, Any], device: device | str) -> RunningMean:
        """The mean of a state, which stays as it is; that of an earlier commit may lack a count."""
        mean, count = state["mean"], state.get("count", 1)
        return RunningMean(None if mean is None else mean.to(device, copy=True), count)


@dataclass
class MeanAveraging(Averaging):
    """An average that is a running mean of the weights."""

    _mean: RunningMean = field(default_factory=RunningMean, init=False, repr=False)

    def result(self) -> Tensor:
        assert self._mean.mean is not None
        return self._mean.mean

    def state(self) -> dict[str, Any]:
        return self._mean.state()

    def restore(self, state: Mapping[str, Any], device: device) -> None:
        self._mean = RunningMean.of(state, device)
