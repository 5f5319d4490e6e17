"""The field's training transform by torchvision's own functions, for the draws of one sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as F

from datasets.augmentation.draws import Draws
from datasets.input_format import IMAGENET

# What it ends with, in training and in evaluations.
FINISH = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize(IMAGENET.mean, IMAGENET.deviation)]
)
OPERATIONS = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)


def transformed(image: np.ndarray, draws: Draws, k: int, size: int) -> np.ndarray:
    """The k-th sample uint8 [H, W, 3], as uint8 [size, size, 3]."""
    left, top, width, height = map(int, draws.boxes[k])
    picture = F.resized_crop(Image.fromarray(image), top, left, height, width, [size, size])
    if draws.flips[k]:
        picture = F.hflip(picture)
    for operation in draws.orders[k]:
        picture = OPERATIONS[operation](picture, float(draws.factors[k, operation]))
    if draws.grays[k]:
        picture = F.rgb_to_grayscale(picture, 3)
    return np.array(picture)


def noise(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Images uint8 [count, height, width, 3] of which no two pixels have to do with each other."""
    shape = (count, height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def photographs(count: int, side: int) -> np.ndarray:
    """Square parts of scikit-learn's two photographs, uint8 [count, side, side, 3]."""
    from sklearn.datasets import load_sample_images

    whole: Sequence[np.ndarray] = load_sample_images().images
    corners = np.random.default_rng(0).integers(0, (427 - side, 640 - side), (count, 2))
    return np.stack([whole[k % 2][y : y + side, x : x + side] for k, (y, x) in enumerate(corners)])
