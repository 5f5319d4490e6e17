"""Stochastic weight averaging densely, for as long as the loss stays in its valley."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from training.averaging.average import Averaging, RunningMean

if TYPE_CHECKING:
    from torch import Tensor, device


class Segment(NamedTuple):
    """The mean [P] of the weights between two evaluations, and the loss of the last of them."""

    number: int
    loss: float
    mean: Tensor


@dataclass
class SWAD(Averaging):
    """The mean of the weights from where the validation loss stops falling to where it rises.

    All weights between two evaluations are a segment, and segments weigh the same. With C the last
    `converge` segments and Q the last `tolerance`:

    - Until the loss has converged: it has once the smallest loss in C is its first. Then
      threshold = mean loss in C * (1 + ratio), and the average starts.
    - From then on each evaluation adds the first of Q, or ends the run if every loss in Q is above
      the threshold: the valley is dead.
    - At the end of a run the rest of Q is added until all that is left of it is above. A run that
      never converged has the mean of its last segment.

    Exactly the LossValley of the released code, with its surprises: the segment at which the loss
    converged is counted only when it comes to the front of Q, and then mostly a second time; after
    a loss above the threshold one more segment is skipped than need be. There the first segment
    is that of the very first update; here, as there are no evaluations but those of the run, it
    ends at the first of them, and the last segment at the last, whatever its length.

    Cha et al., NeurIPS 2021, arXiv 2102.08604, algorithm 1, and khanrc/swad.
    """

    converge: int = 3
    tolerance: int = 6
    ratio: float = 0.3
    ended: bool = field(default=False, init=False)
    converged_at: int | None = field(default=None, init=False)  # number of a segment
    threshold: float | None = field(default=None, init=False)
    average: RunningMean | None = field(default=None, init=False, repr=False)
    _segment: RunningMean = field(default_factory=RunningMean, init=False, repr=False)
    _recent: deque[Segment] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.converge, self.tolerance) < 1:
            raise ValueError(
                "swad_converge and swad_tolerance must be at least 1, but got "
                f"(swad_converge={self.converge}, swad_tolerance={self.tolerance})"
            )
        if self.ratio < 0:
            raise ValueError(f"swad_ratio must not be negative, but got {self.ratio}")
        self._recent = deque(maxlen=max(self.converge, self.tolerance))

    def add(self, weights: Tensor, step: int, steps: int, statistics: Tensor | None = None) -> None:
        if step > 0:
            self._segment.add(weights)

    def evaluated(self, loss: float) -> None:
        assert self._segment.mean is not None
        number = self._recent[-1].number + 1 if self._recent else 0
        # In host memory, as in the released code: a device has better use for its own.
        self._recent.append(Segment(number, loss, self._segment.mean.cpu()))
        self._segment = RunningMean()
        if self.average is None:
            self._converge()
        else:
            self._follow(self.average)

    def result(self) -> Tensor:
        if self.average is None:
            return self._recent[-1].mean
        average = self.average.copy()
        rest = [] if self.ended else self._queue[1:]
        while rest and self._inside(rest):
            average.add(rest.pop(0).mean)
        assert average.mean is not None
        return average.mean

    @property
    def _queue(self) -> list[Segment]:
        return list(self._recent)[-self.tolerance :]

    def _inside(self, segments: Sequence[Segment]) -> bool:
        """Whether any loss of the segments is in the valley."""
        assert self.threshold is not None
        return min(segment.loss for segment in segments) <= self.threshold

    def _converge(self) -> None:
        window = list(self._recent)[-self.converge :]
        losses = [segment.loss for segment in window]
        if len(losses) < self.converge or losses.index(min(losses)) > 0:
            return
        self.converged_at = window[0].number
        self.threshold = sum(losses) / len(losses) * (1 + self.ratio)
        self.average = RunningMean(window[0].mean.clone())
        for segment in self._first(window):
            self.average.add(segment.mean)

    def _first(self, window: Sequence[Segment]) -> Sequence[Segment]:
        """The segments that the average starts with."""
        assert self.threshold is not None
        if self.tolerance < self.converge:
            return window[1 : 1 + self.converge - self.tolerance]
        queue = self._queue[: self.tolerance - self.converge + 1]
        above = [i for i, segment in enumerate(queue) if segment.loss > self.threshold]
        start = above[-1] + 1 if above else 0
        return queue[start + 1 :]

    def _follow(self, average: RunningMean) -> None:
        assert self.converged_at is not None
        queue = self._queue
        if queue[0].number < self.converged_at:
            return
        if self._inside(queue):
            average.add(queue[0].mean)
        else:
            self.ended = True

    def state(self) -> dict[str, Any]:
        return {
            "ended": self.ended,
            "converged_at": self.converged_at,
            "threshold": self.threshold,
            "average": None if self.average is None else self.average.state(),
            "segment": self._segment.state(),
            "recent": [tuple(segment) for segment in self._recent],
        }

    def restore(self, state: Mapping[str, Any], device: device) -> None:
        self.ended = state["ended"]
        self.converged_at = state["converged_at"]
        self.threshold = state["threshold"]
        average = state["average"]
        self.average = None if average is None else RunningMean.of(average, "cpu")
        self._segment = RunningMean.of(state["segment"], device)
        self._recent.clear()
        self._recent.extend(Segment(*segment) for segment in state["recent"])
