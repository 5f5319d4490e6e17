"""Small folders of real image files, sound ones and broken ones, and images of one value."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import datasets
from datasets.domain_dataset import Domain


def picture(seed: int, width: int = 24, height: int = 16) -> Image.Image:
    """A few coloured blots, smooth as a photograph is."""
    blots = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(seed: int, width: int = 24, height: int = 16) -> bytes:
    file = BytesIO()
    picture(seed, width, height).save(file, "JPEG", quality=95)
    return file.getvalue()


def tree(
    root: Path, domains: Sequence[str], classes: Sequence[str], count: int = 2, width: int = 24
) -> Path:
    """root/domain/class/pic_000.jpg ..., each picture another one."""
    seed = 0
    for domain in domains:
        for label in classes:
            folder = root / domain / label
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"pic_{i:03}.jpg").write_bytes(jpeg(seed, width, 16))
                seed += 1
    return root


def load(
    root: Path, *allow: str, name: str = "ImageFolders", size: int = 8, **options: Any
) -> datasets.DomainDataset:
    """The dataset in a folder in small squares, whatever is wrong with it that is allowed."""
    return datasets.load(name, root, size=size, allow=allow, **options)


def numbered(count: int) -> list[str]:
    """Names of classes, as many as are asked for."""
    return [f"class_{i:03}" for i in range(count)]


def as_the_field_loads(path: str | Path, size: int = 8) -> Image.Image:
    """torchvision's pil_loader and Resize((size, size))."""
    with Path(path).open("rb") as file:
        return Image.open(file).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def idx(array: np.ndarray) -> bytes:
    """An array as MNIST's files hold it."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def counted(name: str, n: int, first: int = 0) -> Domain:
    """Sample k is a 2x3 image of one value, first + k, which is its label too."""
    labels = np.arange(first, first + n)
    images = np.broadcast_to(labels[:, None, None, None], (n, 2, 3, 1)).astype(np.uint8)
    return Domain(name, images, labels)
