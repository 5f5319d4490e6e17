"""A dataset as domain generalization sees it: the same classes in several domains."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from datasets.spelling import unknown_name

# Of the names in the name of a set; no folder, so no domain of images, can have it in its own.
SEPARATOR = "/"


class DatasetError(ValueError):
    """What lies on disk is not the dataset, or no cache can be made of it; the user can help."""


@dataclass(frozen=True, eq=False)
class Originals:
    """Images of different sizes, from which training crops are cut.

    pixels: uint8 [bytes], image after image, each [h, w, 3]; may be a memory map.
    sizes: int64 [n, 2], width and height of each image.
    """

    pixels: NDArray[np.uint8]
    sizes: NDArray[np.int64]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where in `pixels` each image begins, int64 [n]."""
        ends = np.cumsum(3 * self.sizes.prod(axis=1), dtype=np.int64)
        return np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(self.sizes)]


@dataclass(frozen=True, eq=False)
class Domain:
    """One data source.

    name: of the domain, unique in its dataset.
    images: uint8 [n, H, W, C]; may be a memory map.
    labels: int64 [n].
    sizes: int64 [n, 2], width and height in pixels of each image before it was brought to
    W x H; None where nothing was. Training crops keep the original proportions.
    originals: the same images, from which training crops are cut; None: they are cut from `images`.

    Raises ValueError: an array has another type or shape, their lengths differ, or the images do
    not lie row after row in memory (a batch of a transposed view would copy the view).
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int64] | None = None
    originals: Originals | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images of domain {self.name!r} must be uint8 [n, H, W, C], "
                f"but got {self.images.dtype} {list(self.images.shape)}"
            )
        if not self.images.flags.c_contiguous:
            raise ValueError(
                f"images of domain {self.name!r} must be C-contiguous: np.ascontiguousarray"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels of domain {self.name!r} must be int64 [{len(self.images)}], one for each "
                f"image, but got {self.labels.dtype} {list(self.labels.shape)}"
            )
        sizes = self.sizes
        if sizes is not None and (sizes.dtype != np.int64 or sizes.shape != (len(self.images), 2)):
            raise ValueError(
                f"sizes of domain {self.name!r} must be int64 [{len(self.images)}, 2], width "
                f"and height of each image, but got {sizes.dtype} {list(sizes.shape)}"
            )
        kept = self.originals
        if kept is not None and (
            kept.sizes.shape != (len(self.images), 2)
            or kept.pixels.shape != (3 * int(kept.sizes.prod(axis=1).sum()),)
        ):
            raise ValueError(
                f"originals of domain {self.name!r} must be {len(self.images)} images, but there "
                f"are {len(kept.sizes)} sizes and {list(kept.pixels.shape)} bytes"
            )

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DomainDataset:
    """Domains that share their classes and the shape of their images.

    name: the dataset's name in `DATASETS`.
    domains: in the order that numbers them: splits depend on it (see `datasets.randomness`).
    classes: class names; a label is an index into them.
    fingerprint: what `fingerprint` returned when the dataset was built.
    notes: what differs from the published data and was accepted, and what was skipped; a
    sentence each, for the record of a run.
    cropped: whether augmentation cuts random crops; else training sees whole images.

    Raises ValueError: no domain, a name twice or with a slash, image shapes that differ, or a label
    without a class.
    """

    name: str
    domains: tuple[Domain, ...]
    classes: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    cropped: bool = True

    def __post_init__(self) -> None:
        if not self.domains:
            raise ValueError(f"dataset {self.name!r} has no domains")
        for name, times in Counter(domain.name for domain in self.domains).items():
            if times > 1:
                raise ValueError(f"dataset {self.name!r} has {times} domains named {name!r}")
            if SEPARATOR in name:
                raise ValueError(f"domain {name!r} of {self.name!r} must have no {SEPARATOR}")
        first = self.domains[0]
        for domain in self.domains:
            if domain.images.shape[1:] != first.images.shape[1:]:
                raise ValueError(
                    f"dataset {self.name!r} mixes image shapes: "
                    f"{list(first.images.shape[1:])} in domain {first.name!r}, "
                    f"{list(domain.images.shape[1:])} in domain {domain.name!r}"
                )
            if len(domain) and not 0 <= domain.labels.min() <= domain.labels.max() < len(
                self.classes
            ):
                raise ValueError(
                    f"labels of domain {domain.name!r} must lie in 0..{len(self.classes) - 1}, "
                    f"but they span {domain.labels.min()}..{domain.labels.max()}"
                )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image as a model gets it: (C, H, W)."""
        _, height, width, channels = self.domains[0].images.shape
        return channels, height, width

    def index(self, domain_name: str) -> int:
        """The position of a domain in `domains`.

        Raises ValueError: no domain has this name; names the nearest one.
        """
        names = [domain.name for domain in self.domains]
        if domain_name not in names:
            raise unknown_name(f"domain of {self.name}", domain_name, names)
        return names.index(domain_name)


def set_name(domains: Iterable[str]) -> str:
    """The name of domains that are held out together: `art_painting/sketch`, in any order given.

    That of a single domain is its own.
    """
    return SEPARATOR.join(sorted(set(domains)))


def members(held_out: str) -> tuple[str, ...]:
    """The domains of what is held out, of which `set_name` made the name."""
    return tuple(held_out.split(SEPARATOR))


def fingerprint(
    classes: Sequence[str],
    domains: Sequence[Domain],
    pixels: Sequence[Iterable[bytes]] | None = None,
    originals: Sequence[Iterable[bytes]] | None = None,
) -> str:
    """sha256 (hex) over class names, domain names, pixels, labels, original sizes and originals.

    Two runs are comparable only if they saw the same images in the same order, whatever the
    files they came from. Shapes are hashed too, so no two datasets share one stream of bytes.

    classes: class names.
    domains: every pixel of them is read, unless `pixels` is given.
    pixels: for each domain the sha256 of each image's pixels, where they are known.
    originals: the same of the originals, if the domains have them.
    """
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    for i, domain in enumerate(domains):
        header = (domain.name, domain.images.shape, domain.sizes is not None)
        digest.update(repr(header).encode())
        # One at a time: a memory map need not fit into memory.
        known = pixels[i] if pixels else (hashlib.sha256(img).digest() for img in domain.images)
        for image in known:
            digest.update(image)
        digest.update(domain.labels.astype("<i8").tobytes())
        if domain.sizes is not None:
            digest.update(domain.sizes.astype("<i8").tobytes())
        if originals is not None:
            digest.update(b"originals")
            for image in originals[i]:
                digest.update(image)
    return digest.hexdigest()
