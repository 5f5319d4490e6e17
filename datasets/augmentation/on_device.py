"""The training transform in torch, for a whole batch at once, on the device that trains.

The arithmetic is Pillow's in float32 instead of 8 bits. No step waits for the device or looks at a
value there: shapes depend on the number of samples alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.augmentation.draws import CONTRAST, HUE, SATURATION, Draws, draw
from datasets.augmentation.on_host import coloured_shape
from datasets.input_format import InputFormat
from datasets.views import Block, Gathering, Job, Pictures, gather, host_buffer


class OnDevice:
    """A view (see `datasets.views`) that moves stored pixels to the device and augments them there.

    format: what the network expects. cropped: whether random crops are cut.

    Raises ValueError: when called: images are not of three colours.
    """

    def __init__(self, format: InputFormat, cropped: bool = True) -> None:
        self._format = format
        self._cropped = cropped

    def __call__(self, blocks: Sequence[Block], seed: int, step: int, device: torch.device) -> Job:
        """The augmented images of the blocks, float32 [N, 3, size, size]."""
        height, width = coloured_shape(blocks)
        sizes = np.concatenate([block.sizes for block in blocks])
        if any(block.domain.originals is not None for block in blocks):
            pictures = [block.crop_sources() for block in blocks]
            stored = np.concatenate([one.sizes for one in pictures])
            draws = draw(seed, step, sizes, stored, self._cropped)
            gathering = gather_crops(pictures, draws.boxes, device)
            # The crops alone are moved, each to the corner.
            packed = pack(replace(draws, boxes=draws.boxes * np.array([0, 0, 1, 1])), device)
        else:
            gathering = gather(blocks, device)
            stored = np.array([width, height])
            packed = pack(draw(seed, step, sizes, stored, self._cropped), device)

        def finish() -> Tensor:
            x = augment(
                gathering.pixels.to(device, non_blocking=True),
                packed.to(device, non_blocking=True),
                self._format.size,
            )
            return self._format.normalise(x)

        return Job(gathering.tasks, finish)


def gather_crops(
    pictures: Sequence[Pictures], boxes: NDArray[np.int64], device: torch.device
) -> Gathering:
    """The crops alone, each in the upper left corner of a frame that takes the largest."""
    width, height = boxes[:, 2:].max(axis=0).tolist()
    pixels = host_buffer((len(boxes), height, width, 3), torch.uint8, device)
    out, tasks, first = pixels.numpy(), list[Callable[[], None]](), 0
    for one in pictures:
        part = slice(first, first + len(one.starts))
        tasks.append(partial(_crop, one, boxes[part], out[part]))
        first = part.stop
    return Gathering(pixels, tasks)


def _crop(pictures: Pictures, boxes: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    pixels = pictures.pixels.view(np.ndarray)
    places = zip(pictures.starts.tolist(), pictures.sizes.tolist(), boxes.tolist(), strict=True)
    for target, (start, (wide, high), (left, top, width, height)) in zip(out, places, strict=True):
        image = pixels[start : start + 3 * wide * high].reshape(high, 3 * wide)
        lines = target.reshape(len(target), -1)[:height, : 3 * width]
        lines[:] = image[top : top + height, 3 * left : 3 * (left + width)]


# Hue is turned once; up to three blends come before it and up to three after. Where a sample has
# fewer, a blend of share 1 changes nothing.
BLENDS = 6


def pack(draws: Draws, device: torch.device) -> Tensor:
    """All draws as one tensor [N, 7 + 3 * BLENDS] on the host, to be moved at once.

    Columns: the box; flip; gray; the hue's turn; then for each blend the share of the image, the
    share of each pixel's gray in what it is blended with, and the share of the mean gray.
    """
    n = np.arange(len(draws))[:, None]
    place_of_hue = (draws.orders == HUE).argmax(axis=1)[:, None]
    slot = np.arange(BLENDS)
    place = np.where(slot < 3, slot, place_of_hue + slot - 2)
    used = np.where(slot < 3, place < place_of_hue, place < 4)
    operation = draws.orders[n, np.minimum(place, 3)]
    columns = [
        draws.boxes,
        draws.flips[:, None],
        draws.grays[:, None],
        np.trunc(draws.factors[:, HUE : HUE + 1] * 255) / 255,  # Pillow's hues have 8 bits
        np.where(used, draws.factors[n, operation], 1),
        used & (operation == SATURATION),
        used & (operation == CONTRAST),
    ]
    packed = host_buffer((len(draws), 7 + 3 * BLENDS), torch.float32, device)
    np.concatenate(columns, axis=1, out=packed.numpy(), casting="same_kind")
    return packed


def augment(pixels: Tensor, packed: Tensor, size: int) -> Tensor:
    """Images uint8 [N, H, W, 3] augmented: float32 [N, 3, size, size], 0..255."""
    left, top, width, height, flip, gray, turn = packed[:, :7, None].unbind(1)
    shares, own_gray, mean_gray = torch.split(packed[:, 7:, None, None, None], BLENDS, dim=1)
    x = _resize(pixels, top, height, torch.zeros_like(flip), size, dim=1)
    x = _resize(x, left, width, flip, size, dim=2).permute(0, 3, 1, 2)
    for i in range(BLENDS):
        if i == BLENDS // 2:
            x = turn_hue(x, turn[..., None, None])
        luma = to_gray(x)
        base = own_gray[:, i] * luma + mean_gray[:, i] * luma.mean((2, 3), keepdim=True)
        x = torch.lerp(base, x, shares[:, i]).clamp_(0, 255)
    return torch.lerp(x, to_gray(x), gray[..., None, None])


def _resize(x: Tensor, begin: Tensor, length: Tensor, flip: Tensor, size: int, dim: int) -> Tensor:
    """Resizes [N, H, W, 3] along dim 1 or 2, there cropped to `length` [N, 1] from `begin` on.

    As Pillow's bilinear filter: a triangle as wide as the scale, and never narrower than a pixel.
    """
    scale = length / size
    support = scale.clamp(min=1)
    position = torch.arange(size, device=x.device)
    position = torch.where(flip > 0, size - 1 - position, position)
    center = (position + 0.5) * scale  # [N, size]
    first = (center - support + 0.5).floor().clamp_(min=0)
    taps = math.ceil(2 * max(x.shape[dim] / size, 1))
    weights = []
    for tap in range(taps):
        weight = 1 - (first + tap + 0.5 - center).abs() / support
        weights.append(weight.clamp_(min=0) * (first + tap < length))
    total = sum(weights)
    sample = torch.arange(len(x), device=x.device)[:, None]
    out: Tensor | None = None
    for tap, weight in enumerate(weights):
        index = (begin + torch.minimum(first + tap, length - 1)).long()
        if dim == 1:
            part = x[sample, index] * (weight / total)[:, :, None, None]
        else:
            lines = torch.arange(x.shape[1], device=x.device)[None, :, None]
            part = x[sample[:, None], lines, index[:, None]] * (weight / total)[:, None, :, None]
        out = part if out is None else out.add_(part)
    assert out is not None
    return out


def to_gray(x: Tensor) -> Tensor:
    """Luma [N, 1, H, W] of colours [N, 3, H, W] (ITU-R 601-2)."""
    red, green, blue = torch.split(x, 1, dim=1)
    return red * 0.299 + green * 0.587 + blue * 0.114


def turn_hue(x: Tensor, turn: Tensor) -> Tensor:
    """Colours [N, 3, H, W], 0..255, with hues turned by `turn` [N, 1, 1, 1] of a full circle."""
    red, green, blue = torch.split(x, 1, dim=1)
    value = x.amax(1, keepdim=True)
    chroma = value - x.amin(1, keepdim=True)
    per_chroma = chroma.clamp(min=1e-6).reciprocal_()
    sixth = torch.where(
        value == red,
        (green - blue) * per_chroma,
        torch.where(value == green, (blue - red) * per_chroma + 2, (red - green) * per_chroma + 4),
    )
    # Going round from each colour, the value less a share that rises, stays and falls.
    begin = 5 - 2 * torch.arange(3, device=x.device).reshape(3, 1, 1)
    angle = torch.add(sixth + 6 * turn, begin, out=torch.empty_like(x)).remainder_(6)
    share = torch.minimum(angle, 4 - angle).clamp_(0, 1)
    return share.mul_(-chroma).add_(value)
