"""The featurizer as it was before training, and parameters that learn how far it has moved."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.feature_maps import FeatureMaps
from training.draws import Draws
from training.optimizers import Optimizer
from training.update import Anchor
from training.weights import Weights


class AnchorState:
    """The featurizer as it was, and the parameters that learn.

    anchor: what is asked for. featurizer: the one that trains, which may be compiled after this is
    made. original: a copy of it from before training; it stays in evaluation mode, without
    gradients. shape: (C, H, W) of the images. optimizer: makes one of the model's kind for a vector
    and the sizes of its tensors.

    The parameters are no weights of the model: no climb moves them or counts them in its length,
    no average takes them in, and nobody needs them once the run is over.

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
        self._own = Weights(
            nn.ParameterList(first.new_full((one.shape[1],), anchor.initial) for one in seen)
        )
        self.optimizer = optimizer(self._own.flat, sizes=self._own.sizes)
        self._lr_multiple = anchor.lr_multiple
        self.gradient = torch.zeros_like(self._own.flat)

    @property
    def parameters(self) -> list[Tensor]:
        """One tensor for each map, [channels], in order."""
        return list(self._own.parameters)

    def maps_before(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the featurizer as it was makes of a batch: maps [N, channels, ...], in order."""
        with torch.no_grad():
            self.original(x)
        return self._maps_before.take()

    def forget(self) -> None:
        """Clears the gradient that an earlier pass left."""
        for parameter in self._own.parameters:
            parameter.grad = None

    def read(self) -> Tensor:
        """The gradient [B] of the latest pass by all parameters, which is then cleared."""
        found = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        self.forget()
        return torch.cat(found)

    def step(self, lr: float, draws: Draws) -> None:
        """One step of the parameters along `gradient`; lr: the model's rate."""
        self.optimizer.lr = lr * self._lr_multiple
        self.optimizer.step(self.gradient, draws)

    def tensors(self) -> dict[str, Tensor]:
        """All that changes, by name; the tensors themselves, not copies."""
        return {"numbers": self._own.flat, **self.optimizer.state}


def anchor_state(
    anchor: Anchor | None,
    model: nn.Module,
    original: nn.Module | None,
    shape: tuple[int, int, int],
    optimizer: Callable[..., Optimizer],
) -> AnchorState | None:
    """The anchor state of a Network; None without an anchor. Raises as AnchorState."""
    if anchor is None or original is None:
        return None
    return AnchorState(anchor, model.get_submodule("featurizer"), original, shape, optimizer)
