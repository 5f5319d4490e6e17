"""The images that a network was made for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Three = tuple[float, float, float]


@dataclass(frozen=True)
class InputFormat:
    """Square images of `size` pixels; each colour's values are (x / 255 - mean) / deviation.

    Raises ValueError: size is below 1 or a deviation is not above 0.
    """

    size: int
    mean: Three
    deviation: Three

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size of images must be at least 1, but got {self.size}")
        if min(self.deviation) <= 0:
            raise ValueError(f"deviation of colours must be above 0, but got {self.deviation}")

    def table(self) -> NDArray[np.float32]:
        """What each 8-bit value of each colour becomes, [3, 256], as torchvision computes it."""
        values = torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256)
        return self.normalise(values).reshape(3, 256).numpy()

    def normalise(self, pixels: Tensor) -> Tensor:
        """Colours [N, 3, H, W], 0..255, uint8 or float, as float32 of this format."""
        mean, deviation = (_column(x, pixels.device) for x in (self.mean, self.deviation))
        return (pixels / 255).sub_(mean).div_(deviation)


@cache  # to make it on a GPU is to wait for the GPU: once
def _column(three: Three, device: torch.device) -> Tensor:
    return torch.tensor(three, device=device).reshape(3, 1, 1)


# What the weights of torchvision's and most other models expect.
IMAGENET = InputFormat(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
