"""How far pixels are from those that torchvision makes of the JPEG with the same draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as F

from datasets.augmentation.by_name import view
from datasets.augmentation.crops import UNITS, random_crops
from datasets.augmentation.draws import Draws, draw
from datasets.domain_dataset import Domain
from datasets.input_format import IMAGENET
from datasets.randomness import AUGMENTATION, units
from datasets.views import Block

CPU = torch.device("cpu")
MOST = 64  # images looked at


@dataclass(frozen=True)
class Differences:
    """Mean absolute differences, of 255."""

    exact: float
    device: float
    evaluation: float


def to_jpegs(root: Path, domain: Domain) -> Differences:
    """Of a domain's first images, which must be those of the sorted files below `root`."""
    files = sorted(root.rglob("*.jpg"))[:MOST]
    jpegs = [Image.open(file).convert("RGB") for file in files]
    blocks = [Block(domain, np.arange(len(files)))]
    draws = draw(0, 0, blocks[0].sizes, blocks[0].sizes)
    words = units(0, AUGMENTATION, 0, len(files) * (UNITS + 10)).reshape(len(files), -1)
    crops = random_crops(words[:, :UNITS], blocks[0].sizes)
    trained = [transformed(jpegs[k], draws, k, crops[k]) for k in range(len(jpegs))]
    tested = [F.resize(jpeg, [IMAGENET.size, IMAGENET.size]) for jpeg in jpegs]

    def difference(augmentation: str, expected: list[Image.Image]) -> float:
        x = view(augmentation, IMAGENET)(blocks, 0, 0, CPU).run()
        wanted = torch.stack([F.to_tensor(image) for image in expected])
        wanted = F.normalize(wanted, IMAGENET.mean, IMAGENET.deviation)
        if torch.equal(x, wanted):
            return 0.0
        deviation = torch.tensor(IMAGENET.deviation).reshape(3, 1, 1)
        return float(((x - wanted) * deviation).abs().mean()) * 255

    return Differences(
        difference("exact", trained), difference("device", trained), difference("none", tested)
    )


def transformed(image: Image.Image, draws: Draws, k: int, crop: np.ndarray) -> Image.Image:
    """The k-th sample by torchvision's functions, of a crop (left, top, width, height)."""
    operations = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    left, top, width, height = map(int, crop)
    image = F.resized_crop(image, top, left, height, width, [IMAGENET.size, IMAGENET.size])
    if draws.flips[k]:
        image = F.hflip(image)
    for operation in draws.orders[k]:
        image = operations[operation](image, float(draws.factors[k, operation]))
    return F.rgb_to_grayscale(image, 3) if draws.grays[k] else image
