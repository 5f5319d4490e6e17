"""Handwritten digits in six domains, one per angle: small enough to try a whole sweep on a CPU.

Built like DomainBed's RotatedMNIST (Gulrajani & Lopez-Paz, 2021; after Ghifary et al., 2015).
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets.domain_dataset import Domain, DomainDataset, fingerprint
from datasets.entry import Description

ANGLES = (0, 15, 30, 45, 60, 75)  # degrees, counter-clockwise

DESCRIPTION = Description(
    domains=tuple(str(angle) for angle in ANGLES),
    classes=10,
    sentence="1,797 handwritten digits of 8x8 pixels, divided among six angles of rotation.",
    source="UCI Optical Recognition of Handwritten Digits (test set), bundled with scikit-learn",
)


@functools.cache
def load(root: Path | None = None) -> DomainDataset:
    """The six domains: images uint8 [299 or 300, 8, 8, 1], read-only; `root` is not needed.

    Each digit goes to one domain only. A digit seen at two angles would be trained on in a
    source domain and tested in the held-out one, and the test would measure memory.

    Raises FileNotFoundError: scikit-learn, whose copy of the digits is read, is not installed.
    """
    digits, labels = _digits()
    # The file is ordered by writer: the fixed shuffle gives every domain every writer.
    order = np.random.RandomState(0).permutation(len(digits))
    domains = []
    for i, angle in enumerate(ANGLES):
        chosen = order[i :: len(ANGLES)]
        images = np.stack([_rotate(digit, angle) for digit in digits[chosen]])[..., np.newaxis]
        domain = Domain(str(angle), images, labels[chosen])
        for array in (domain.images, domain.labels):
            array.setflags(write=False)  # every caller gets the same cached arrays
        domains.append(domain)
    classes = tuple("0123456789")
    return DomainDataset("RotatedDigits", tuple(domains), classes, fingerprint(classes, domains))


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All digits in the file's order: images uint8 [1797, 8, 8] over 0..255, labels int64 [1797].

    What sklearn.datasets.load_digits returns. Its file is read here because importing
    sklearn.datasets takes each worker about a second, and the file six milliseconds.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise FileNotFoundError(
            "RotatedDigits needs the digits that come with scikit-learn: "
            "run `pip install scikit-learn`"
        )
    table = np.loadtxt(
        Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=","
    )
    values, labels = table[:, :-1], table[:, -1].astype(np.int64)
    pixels = np.rint(values * (255 / 16)).astype(np.uint8)  # the file's values are 0..16
    return pixels.reshape(-1, 8, 8), labels


def _rotate(image: NDArray[np.uint8], angle: int) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(image).rotate(angle, Image.Resampling.BILINEAR, fillcolor=0))
