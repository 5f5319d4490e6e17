"""What happens to each sample of a batch: the field's training transform, as numbers.

RandomResizedCrop(scale (0.7, 1)), RandomHorizontalFlip, ColorJitter(0.3, 0.3, 0.3, 0.3) and
RandomGrayscale(0.1), in this order (domainbed/datasets.py, MultipleEnvironmentImageFolder).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.augmentation.crops import UNITS, random_crops, to_stored
from datasets.randomness import AUGMENTATION, units

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
JITTER = 0.3  # factors lie within this of 1, the hue's within this of 0
GRAY = 0.1  # the chance of losing all colour


@dataclass(frozen=True, eq=False)
class Draws:
    """What happens to N samples, first to last.

    boxes: int64 [N, 4], left, top, width and height of the crop that is brought to the
    network's size, in pixels of the stored image.
    flips: bool [N], whether it is mirrored.
    orders: int64 [N, 4], the colour operations in order: BRIGHTNESS, CONTRAST, SATURATION and
    HUE; or [N, 0], none.
    factors: float64 [N, 4], of the operation of that number.
    grays: bool [N], whether colours are taken away at the end.
    """

    boxes: NDArray[np.int64]
    flips: NDArray[np.bool_]
    orders: NDArray[np.int64]
    factors: NDArray[np.float64]
    grays: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, part: slice) -> Draws:
        """The draws of some of the samples."""
        return Draws(
            self.boxes[part],
            self.flips[part],
            self.orders[part],
            self.factors[part],
            self.grays[part],
        )


def draw(
    seed: int,
    step: int,
    sizes: NDArray[np.int64],
    stored: NDArray[np.int64],
    cropped: bool = True,
) -> Draws:
    """The draws of a step, the same whenever they are asked for.

    seed, step: see `datasets.randomness`.
    sizes: int64 [N, 2], original width and height of each sample: crops keep proportions.
    stored: int64 [N, 2], or [2] for all, width and height of the images that crops are cut from.
    cropped: False takes whole images; the other draws are the same.
    """
    u = units(seed, AUGMENTATION, step, len(sizes) * (UNITS + 10)).reshape(len(sizes), -1)
    crop, order, factor = u[:, :UNITS], u[:, UNITS : UNITS + 4], u[:, UNITS + 4 : UNITS + 8]
    factors = 1 + JITTER * (2 * factor - 1)
    factors[:, HUE] -= 1
    whole = np.concatenate([np.zeros_like(sizes), np.broadcast_to(stored, sizes.shape)], axis=1)
    return Draws(
        boxes=to_stored(random_crops(crop, sizes), sizes, stored) if cropped else whole,
        flips=u[:, -2] < 0.5,
        orders=order.argsort(axis=1),
        factors=factors,
        grays=u[:, -1] < GRAY,
    )


def nothing(count: int, width: int, height: int) -> Draws:
    """Whole images of width x height, as they are, as for evaluation."""
    return Draws(
        boxes=np.tile([0, 0, width, height], (count, 1)),
        flips=np.zeros(count, np.bool_),
        orders=np.empty((count, 0), np.int64),
        factors=np.empty((count, 4)),
        grays=np.zeros(count, np.bool_),
    )
