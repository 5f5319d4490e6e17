"""Images rendered on the CPU exactly as Pillow and torchvision give them, in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.augmentation.buffers import Buffers
from datasets.augmentation.draws import Draws, draw, nothing
from datasets.input_format import InputFormat
from datasets.views import Block, Job, Pictures, host_buffer

PIECE = 16  # samples that one task renders


class OnHost:
    """A view (see `datasets.views`) whose pixels are Pillow's.

    Without augmentation it is Resize((size, size)), ToTensor, Normalize; with it the transform of
    `datasets.augmentation.draws` comes first. On a GPU the values are normalised there, where
    their last bit may differ.

    format: what the network expects.
    augmented: whether samples are augmented. cropped: whether that cuts random crops.

    Raises ValueError: when called: images are not of three colours.
    """

    def __init__(self, format: InputFormat, augmented: bool, cropped: bool = True) -> None:
        from datasets.augmentation import rendering  # here: it imports numba

        self._render = rendering.render
        self._format = format
        self._augmented = augmented
        self._cropped = cropped
        self._normalised = format.table()
        self._buffers = Buffers()
        self._same = np.tile(np.arange(256, dtype=np.uint8), (3, 1))

    def __call__(self, blocks: Sequence[Block], seed: int, step: int, device: torch.device) -> Job:
        """The images of the blocks, float32 [N, 3, size, size]."""
        height, width = coloured_shape(blocks)
        on_cpu = device.type == "cpu"
        count, size = sum(map(len, blocks)), self._format.size
        pixels = (
            self._buffers.take(count, size, size, 3)
            if on_cpu
            else host_buffer((count, size, size, 3), torch.uint8, device)
        )
        out, table = pixels.numpy(), self._normalised if on_cpu else self._same
        if self._augmented:
            pictures = [block.crop_sources() for block in blocks]
            sizes = np.concatenate([block.sizes for block in blocks])
            stored = np.concatenate([one.sizes for one in pictures])
            draws = draw(seed, step, sizes, stored, self._cropped)
        else:
            pictures = [block.squares() for block in blocks]
            draws = nothing(count, width, height)
        tasks: list[Callable[[], None]] = []
        first = 0
        for block, of_block in zip(blocks, pictures, strict=True):
            for start in range(0, len(block), PIECE):
                piece = slice(start, min(start + PIECE, len(block)))
                part = slice(first + start, first + piece.stop)
                tasks.append(partial(self._fill, of_block, piece, draws[part], table, out[part]))
            first += len(block)

        def finish() -> Tensor:
            x = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
            return x if on_cpu else self._format.normalise(x)

        return Job(tasks, finish)

    def _fill(
        self,
        pictures: Pictures,
        piece: slice,
        draws: Draws,
        table: NDArray[np.float32] | NDArray[np.uint8],
        out: NDArray[np.float32] | NDArray[np.uint8],
    ) -> None:
        # A view of its own, read-only: memory maps and arrays then share one compiled function.
        pixels = pictures.pixels.view(np.ndarray)
        pixels.flags.writeable = False
        self._render(
            pixels,
            pictures.starts[piece],
            pictures.sizes[piece],
            draws.boxes,
            draws.flips,
            draws.orders,
            draws.factors,
            draws.grays,
            table,
            out,
        )


def coloured_shape(blocks: Sequence[Block]) -> tuple[int, int]:
    """Height and width of the stored images.

    Raises ValueError: they are not of three colours, or only a pixel wide or high.
    """
    domain = blocks[0].domain
    _, height, width, channels = domain.images.shape
    if channels != 3 or min(height, width) < 2:
        raise ValueError(
            f"images of domain {domain.name!r} are {width}x{height} of {channels} colours: what "
            "resizes or augments images needs 3 colours and 2x2 pixels"
        )
    return height, width
