"""RotatedMNIST and ColoredMNIST, from the files of MNIST that torchvision reads.

Built as DomainBed builds them (domainbed/datasets.py, MultipleEnvironmentMNIST), with the draws of
its seed 0: DomainBed deals the digits out anew for each seed of a run, and one dataset must be the
same for all. Sources: Ghifary et al., 2015 (rotated); Arjovsky et al., 2019 (colored).
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasets import findings
from datasets.cache import contents, versions
from datasets.domain_dataset import DatasetError, Domain, DomainDataset, fingerprint
from datasets.entry import Description, Entry, Reading
from datasets.findings import COUNTS, Finding

if TYPE_CHECKING:
    import torch

FORMAT = 1  # to be raised when the same files give other images
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
PUBLISHED = {"training": 60000, "test": 10000}
ANGLES = {str(angle): angle for angle in (0, 15, 30, 45, 60, 75)}  # degrees, counter-clockwise
# How often the colour contradicts the label.
FLIPS = {"+90%": 0.1, "+80%": 0.2, "-90%": 0.9}
SOURCE = "LeCun et al., 1998; MNIST/raw/ as torchvision downloads it"

Digits = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class MnistDataset:
    """MNIST dealt out to domains.

    name: the dataset's.
    environments: domain -> what sets it apart.
    classes: names of the classes.
    sentence: as of `Description`.
    change: digits uint8 [n, 28, 28], labels int64 [n], a generator of draws and the domain's
    number -> images uint8 [n, 28, 28, C], labels int64 [n].
    """

    name: str
    environments: dict[str, float]
    classes: tuple[str, ...]
    sentence: str
    change: Callable[[Digits, Labels, torch.Generator, float], tuple[Digits, Labels]]

    def entry(self) -> Entry:
        """Its entry in the registry."""
        description = Description(
            tuple(self.environments), len(self.classes), self.sentence, SOURCE
        )
        return Entry(description, self.load, self.cache, needs_root=True)

    def load(self, root: Path | None, reading: Reading) -> DomainDataset:
        """Raises FileNotFoundError, DatasetError as `cache`, and for findings not allowed."""
        return contents.open_dataset(self.cache(root, reading), reading.allow)

    def cache(self, root: Path | None, reading: Reading) -> Path:
        """The folder of the finished images, built if need be.

        Raises FileNotFoundError: no root, or MNIST's files are not in it.
        Raises DatasetError: a file is damaged, or no cache can be written.
        """
        files = _locate(self.name, root)
        folder = files[0].parent
        listing = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        key = hashlib.sha256(repr((FORMAT, self.name, listing)).encode()).hexdigest()[:16]
        homes = versions.homes(folder, folder, self.name)
        for home in homes:
            if (home / key).exists():
                return home / key
        home = versions.writable(homes)
        return versions.build(home, key, lambda partial: self._fill(partial, files, reading))

    def _fill(self, folder: Path, files: Sequence[Path], reading: Reading) -> None:
        import torch  # late: a list of datasets need not wait for it

        images, labels, found = _read(files)
        findings.refuse(found, reading.allow, self.name, files[0].parent)
        draws = torch.Generator().manual_seed(0)
        order = torch.randperm(len(images), generator=draws).numpy()
        domains = []
        for i, (name, number) in enumerate(self.environments.items()):
            chosen = order[i :: len(self.environments)]
            domain = Domain(name, *self.change(images[chosen], labels[chosen], draws, number))
            contents.write_array(folder, name, "images", domain.images)
            contents.write_array(folder, name, "labels", domain.labels)
            domains.append(domain)
            if reading.progress is not None:
                reading.progress(i + 1, len(self.environments))
        facts = contents.Facts(
            dataset=self.name,
            root=str(files[0].parent),
            classes=self.classes,
            domains=tuple(self.environments),
            fingerprint=fingerprint(self.classes, domains),
            findings=tuple(found),
            folders={},
        )
        contents.write_facts(folder, facts)


def rotate(
    images: Digits, labels: Labels, draws: torch.Generator, angle: float
) -> tuple[Digits, Labels]:
    """Turns each digit by `angle` degrees, counter-clockwise: [n, 28, 28, 1]."""
    turned = [
        np.asarray(Image.fromarray(image).rotate(angle, Image.Resampling.BILINEAR, fillcolor=0))
        for image in images
    ]
    return np.stack(turned)[..., np.newaxis], labels


def color(
    images: Digits, labels: Labels, draws: torch.Generator, flips: float
) -> tuple[Digits, Labels]:
    """Class 1 for digits below 5, wrong for a quarter of them, and a colour: [n, 28, 28, 2].

    The colour contradicts the (wrong or right) class with probability `flips`; an image is in one
    channel, the other is black.
    """
    import torch

    classes = (labels < 5) ^ (torch.rand(len(labels), generator=draws).numpy() < np.float32(0.25))
    colors = classes ^ (torch.rand(len(labels), generator=draws).numpy() < np.float32(flips))
    channels = np.zeros((*images.shape, 2), np.uint8)
    channels[np.arange(len(images)), :, :, colors.astype(np.int64)] = images
    return channels, classes.astype(np.int64)


def _locate(name: str, root: Path | None) -> list[Path]:
    if root is None:
        raise FileNotFoundError(
            f"{name} needs the folder that holds MNIST/raw: give it as `dataset.root`"
        )
    root = root.expanduser()
    for folder in (root / "MNIST" / "raw", root / "MNIST" / "MNIST" / "raw", root / "raw", root):
        found = [_file(folder, file) for file in FILES]
        there = [file for file in found if file is not None]
        if len(there) == len(FILES):
            return there
    raise FileNotFoundError(
        f"no MNIST in {root}: there should be MNIST/raw/ with {', '.join(FILES)} (.gz or not); "
        f"`python -m search prepare {name} download --root {root}` fetches it"
    )


def _file(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _read(files: Sequence[Path]) -> tuple[Digits, Labels, list[Finding]]:
    """Training digits, then test digits: uint8 [n, 28, 28], int64 [n]; and wrong counts."""
    arrays = [_read_idx(file) for file in files]
    found = []
    parts = zip(PUBLISHED, arrays[::2], arrays[1::2], files[::2], strict=True)
    for part, images, labels, file in parts:
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
            raise DatasetError(
                f"{file} should hold images of 28x28 pixels, one for each label, but holds "
                f"{list(images.shape)} for {list(labels.shape)} labels"
            )
        if len(images) != PUBLISHED[part]:
            what = f"{len(images):,} {part} images, {PUBLISHED[part]:,} are published"
            found.append(Finding(COUNTS, what))
    images, labels = np.concatenate(arrays[::2]), np.concatenate(arrays[1::2])
    return images, labels.astype(np.int64), found


def _read_idx(file: Path) -> NDArray[np.uint8]:
    """An array in MNIST's format: 0, 0, type (8: uint8), rank, sizes (big-endian), values.

    Raises DatasetError: the file is not in it.
    """
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        rank = data[3]
        shape = np.frombuffer(data, ">i4", rank, offset=4)
        if data[:3] != b"\0\0\x08" or len(data) != 4 + 4 * rank + shape.prod(dtype=np.int64):
            raise ValueError(f"its {len(data)} bytes are no array of bytes in the format idx")
    except (OSError, EOFError, IndexError, ValueError) as error:
        raise DatasetError(f"{file} is damaged: {error}") from error
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


ROTATED = MnistDataset(
    "RotatedMNIST",
    dict(ANGLES),
    tuple("0123456789"),
    "70,000 handwritten digits of 28x28 pixels, divided among six angles of rotation.",
    rotate,
)
COLORED = MnistDataset(
    "ColoredMNIST",
    FLIPS,
    ("5 to 9", "0 to 4"),
    "70,000 digits, two noisy classes; colour tells more than shape, and lies where held out.",
    color,
)
