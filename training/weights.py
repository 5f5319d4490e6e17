"""The trainable parameters of a model as one flat vector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.torch_private import copy_all

LARGE = 1 << 16  # numbers in a parameter whose gradient is moved by itself


class Weights:
    """Moves a model's trainable parameters into one flat vector [P] and keeps them there.

    Each parameter becomes a view into `flat`, so arithmetic on the whole model is one tensor
    operation, and a base optimizer sees a single parameter. Order is that of
    `model.parameters()`; the featurizer's parameters come first.

    Raises ValueError if the model has no trainable parameter, mixes data types or devices, or has
    a parameter of the featurizer after the classifier's.
    """

    def __init__(self, model: nn.Module) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if not named:
            raise ValueError("the model has no trainable parameter")
        kinds = {(p.dtype, p.device) for _, p in named}
        if len(kinds) > 1:
            raise ValueError(f"parameters must share one data type and device, but got {kinds}")
        self.names = [name for name, _ in named]
        self.parameters = [p for _, p in named]
        feature = [not name.startswith("classifier.") for name in self.names]
        if feature != sorted(feature, reverse=True):
            raise ValueError(f"the classifier's parameters must come last, but got {self.names}")
        # Parameters are dense, so (size, stride, offset) describes each view, channels_last too.
        ends = torch.tensor([p.numel() for p in self.parameters]).cumsum(0).tolist()
        self._layout = [
            (tuple(p.shape), p.stride(), end - p.numel())
            for p, end in zip(self.parameters, ends, strict=True)
        ]
        self.sizes = [p.numel() for p in self.parameters]
        first = self.parameters[0]
        self.flat = torch.empty(ends[-1], dtype=first.dtype, device=first.device)
        for parameter, view in zip(self.parameters, self.views(self.flat), strict=True):
            view.copy_(parameter.data)
            parameter.data = view
        self.featurizer = slice(0, ends[sum(feature) - 1] if any(feature) else 0)
        self._saved: Tensor | None = None
        self._gradients: dict[str, Gradients] = {}

    def views(self, flat: Tensor) -> list[Tensor]:
        """Views into a vector [P], one per parameter, shaped as the parameters are."""
        offset = int(flat.storage_offset())
        return [flat.as_strided(size, stride, offset + at) for size, stride, at in self._layout]

    def gradients(self, name: str, rows: int = 1) -> Gradients:
        """Room for `rows` gradients, the same memory whenever the same name is asked for."""
        if name not in self._gradients or len(self._gradients[name].matrix) != rows:
            self._gradients[name] = Gradients(self, rows)
        return self._gradients[name]

    @contextmanager
    def displaced(self) -> Iterator[Tensor]:
        """Inside the block `flat` may be moved; on leaving, by whatever way, it is as before.

        Yields the saved copy [P]. Blocks do not nest.
        """
        if self._saved is None:
            self._saved = torch.empty_like(self.flat)
        self._saved.copy_(self.flat)
        try:
            yield self._saved
        finally:
            self.flat.copy_(self._saved)


class Gradients:
    """`matrix` [rows, P], which backward passes write into.

    It is kept from step to step: fresh memory for every gradient of a large model would cost
    about a tenth of the pass. Large gradients are moved here as soon as each is known, while the
    caches hold it, and so that the next may have its memory; small ones all at once after the
    pass. To let autograd add to zeros in place instead takes up to a twentieth of a pass more.
    """

    def __init__(self, weights: Weights, rows: int) -> None:
        self.matrix = weights.flat.new_empty(rows, len(weights.flat))
        self._parameters = weights.parameters
        self._views = [weights.views(row) for row in self.matrix]

    def fill(self, row: int, value: Tensor) -> Tensor:
        """The gradient [P] of value [], in a row that the next call for this row overwrites."""
        return self.sum(row, (value,))

    def sum(self, row: int, values: Iterable[Tensor]) -> Tensor:
        """As `fill`, the sum over values [], each differentiated before the next is asked for."""
        views, empty = self._views[row], True
        try:
            for value in values:
                if empty:
                    self._write(value, views)
                else:
                    self._add(value, views)
                empty = False
        finally:
            for parameter in self._parameters:
                parameter.grad = None
        return self.matrix[row].zero_() if empty else self.matrix[row]

    def _write(self, value: Tensor, views: list[Tensor]) -> None:
        rooms: dict[Tensor, Tensor] = dict(zip(self._parameters, views, strict=True))

        def move(parameter: Tensor) -> None:
            assert parameter.grad is not None
            rooms.pop(parameter).copy_(parameter.grad)
            parameter.grad = None

        hooks = []
        for parameter in self._parameters:
            parameter.grad = None
            if parameter.numel() >= LARGE:
                hooks.append(parameter.register_post_accumulate_grad_hook(move))  # type: ignore[no-untyped-call]
        try:
            value.backward()  # type: ignore[no-untyped-call]
        finally:
            for hook in hooks:
                hook.remove()
        known = [(room, p.grad) for p, room in rooms.items() if p.grad is not None]
        copy_all([room for room, _ in known], [gradient for _, gradient in known])
        for unmoved, room in rooms.items():
            if unmoved.grad is None:  # the value does not depend on it
                room.zero_()

    def _add(self, value: Tensor, views: list[Tensor]) -> None:
        for parameter, view in zip(self._parameters, views, strict=True):
            parameter.grad = view
        value.backward()  # type: ignore[no-untyped-call]
