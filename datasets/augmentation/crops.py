"""Which part of an image to show: RandomResizedCrop's draws, for many images at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SCALE = (0.7, 1.0)  # of the image's area
RATIO = (3 / 4, 4 / 3)  # width to height
TRIES = 10
UNITS = 2 * TRIES + 2  # numbers that a crop takes

Integers = NDArray[np.int64]


def random_crops(units: NDArray[np.float64], sizes: Integers) -> Integers:
    """Crops [N, 4] (left, top, width, height) of images of `sizes` [N, 2] (width, height).

    As torchvision's RandomResizedCrop draws them: an area and a ratio of the sides are drawn until
    the crop fits, ten times at most; then the largest crop from the middle whose ratio is allowed.

    units: [N, UNITS], uniform over [0, 1).
    sizes: in pixels.
    """
    width, height = sizes[:, :1], sizes[:, 1:]
    area = width * height * (SCALE[0] + (SCALE[1] - SCALE[0]) * units[:, :TRIES])
    low, high = np.log(RATIO)
    ratio = np.exp(low + (high - low) * units[:, TRIES : 2 * TRIES])
    tried_width = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    tried_height = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (tried_width > 0) & (tried_width <= width) & (tried_height > 0)
    fits &= tried_height <= height
    sample, first = np.arange(len(sizes)), fits.argmax(axis=1)
    crop_width, crop_height = tried_width[sample, first], tried_height[sample, first]
    room = sizes - np.stack([crop_width, crop_height], axis=1)
    corner = (units[:, 2 * TRIES :] * (room + 1)).astype(np.int64)
    crops = np.stack([*corner.T, crop_width, crop_height], axis=1)
    return np.where(fits.any(axis=1, keepdims=True), crops, middle_crops(sizes))


def middle_crops(sizes: Integers) -> Integers:
    """The largest crops [N, 4] from the middle whose sides are in proportion."""
    width, height = sizes.T
    crop_width = np.minimum(width, np.rint(height * RATIO[1])).astype(np.int64)
    crop_height = np.minimum(height, np.rint(width / RATIO[0])).astype(np.int64)
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return np.stack([left, top, crop_width, crop_height], axis=1)


def to_stored(crops: Integers, sizes: Integers, stored: Integers) -> Integers:
    """The same crops of images that were brought from `sizes` to `stored`; a pixel or more.

    Edges are rounded to whole pixels. stored: width and height of each image [N, 2], or of all [2].
    """
    scale = stored / sizes
    begin = np.rint(crops[:, :2] * scale).astype(np.int64)
    begin = np.minimum(begin, stored - 1)
    end = np.rint((crops[:, :2] + crops[:, 2:]) * scale).astype(np.int64)
    return np.concatenate([begin, np.maximum(end - begin, 1)], axis=1)
