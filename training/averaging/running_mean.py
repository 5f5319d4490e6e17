"""A mean of weights that is kept up to date as they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class RunningMean:
    """The mean [P] of `count` vectors; before the first it is `start`, which does not count."""

    def __init__(self, start: Tensor | None = None, count: int = 0) -> None:
        self.mean = start
        self.count = count

    def add(self, vector: Tensor) -> None:
        """Takes in a vector [P]: as torch.optim.swa_utils.AveragedModel, mean += (v - mean) / n."""
        if self.mean is None or self.count == 0:
            self.mean = vector.clone()
        else:
            self.mean.lerp_(vector, 1 / (self.count + 1))
        self.count += 1

    def copy(self) -> RunningMean:
        return RunningMean(None if self.mean is None else self.mean.clone(), self.count)

    def state(self) -> dict[str, Any]:
        return vars(self.copy())

    @staticmethod
    def of(state: dict[str, Any], device: torch.device | str) -> RunningMean:
        """The mean with a state, which stays as it is."""
        mean = state["mean"]
        return RunningMean(None if mean is None else mean.to(device, copy=True), state["count"])
