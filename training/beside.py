"""What a run holds beside its model: the featurizer as it was, and numbers that learn about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.feature_maps import FeatureMaps
from training.draws import Draws
from training.optimizers import Optimizer
from training.weights import Weights


@dataclass(frozen=True)
class Anchor:
    """Has the passes see feature maps beside those of the featurizer as it was before training.

    stem: whether the stem's map is among them, or the stages' alone. initial: what a number begins
    with; each channel of each map has one, which learns. lr_multiple: their rate, in those of the
    model.
    """

    stem: bool
    initial: float
    lr_multiple: float


class Beside:
    """The featurizer as it was, and the numbers that learn.

    anchor: what is asked for. featurizer: the one that trains, which may be compiled after this is
    made. original: a copy of it from before training; it stays in evaluation mode, without
    gradients. shape: (C, H, W) of the images. optimizer: makes one, of the kind that the model's
    is, for a vector and the sizes of its tensors.

    The numbers are no weights of the model: no climb moves them or counts them in its length, no
    average takes them in, and nobody needs them once the run is over.

    Raises ValueError if the featurizer does not train or has no layers that are known by name.
    """

    def __init__(
        self,
        anchor: Anchor,
        featurizer: nn.Module,
        original: nn.Module,
        shape: tuple[int, int, int],
        optimizer: Callable[..., Optimizer],
    ) -> None:
        if not any(parameter.requires_grad for parameter in featurizer.parameters()):
            raise ValueError("features that stay as they are have nothing to be compared with")
        self.maps = FeatureMaps(featurizer, anchor.stem)
        self.original = original.requires_grad_(False).eval()
        self._maps_before = FeatureMaps(original, anchor.stem, always=True)
        first = next(original.parameters())
        seen = self.maps_before(first.new_zeros(1, *shape))
        self.names = self.maps.names
        self._numbers = Weights(
            nn.ParameterList(first.new_full((one.shape[1],), anchor.initial) for one in seen)
        )
        self.optimizer = optimizer(self._numbers.flat, sizes=self._numbers.sizes)
        self._lr_multiple = anchor.lr_multiple
        self.gradient = torch.zeros_like(self._numbers.flat)

    @property
    def numbers(self) -> list[Tensor]:
        """Those of each map [channels], which a value may be differentiated by."""
        return list(self._numbers.parameters)

    def maps_before(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the featurizer as it was makes of a batch: maps [N, channels, ...], in order."""
        with torch.no_grad():
            self.original(x)
        return self._maps_before.take()

    def forget(self) -> None:
        """Before a pass: what an earlier one has left."""
        for number in self._numbers.parameters:
            number.grad = None

    def read(self) -> Tensor:
        """After a pass: the gradient [B] of its value by the numbers."""
        found = [n.grad if n.grad is not None else torch.zeros_like(n) for n in self.numbers]
        self.forget()
        return torch.cat(found)

    def step(self, lr: float, draws: Draws) -> None:
        """One step of the numbers along `gradient`, at their multiple of the model's rate."""
        self.optimizer.lr = lr * self._lr_multiple
        self.optimizer.step(self.gradient, draws)

    def tensors(self) -> dict[str, Tensor]:
        """All that changes, by name; the tensors themselves."""
        return {"numbers": self._numbers.flat, **self.optimizer.state}


def beside(
    anchor: Anchor | None,
    model: nn.Module,
    original: nn.Module | None,
    shape: tuple[int, int, int],
    optimizer: Callable[..., Optimizer],
) -> Beside | None:
    """What is held beside a Network; None without an anchor. Raises as Beside."""
    if anchor is None or original is None:
        return None
    return Beside(anchor, model.get_submodule("featurizer"), original, shape, optimizer)
