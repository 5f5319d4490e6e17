"""What a network is shown of a dataset, in one line, and when its augmentation is doubtful."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from datasets.augmentation.draws import GRAY, JITTER
from datasets.domain_dataset import Domain, DomainDataset

if TYPE_CHECKING:
    from datasets.input_format import InputFormat

SMALL = 64  # pixels: icons, digits and thumbnails, hardly photographs
LOOKED_AT = 32  # images of a domain

UNCROPPED = f"mirroring, colour jitter of {JITTER:g}, {100 * GRAY:g} % made grey (DomainBed's)"
AUGMENTED = f"random crops of 70 % or more, {UNCROPPED}"


def in_words(dataset: DomainDataset, augmentation: str, format: InputFormat | None = None) -> str:
    """What training sees: stored shape, augmentation and normalisation, as `views` makes them.

    augmentation: `auto` or a key of AUGMENTATIONS. format: what the model expects, if it is known.
    """
    channels, height, width = dataset.image_shape
    stored = f"{channels} x {height} x {width}"
    if dataset.domains[0].sizes is None:
        return f"{stored}, shown as stored: no augmentation, values / 255, not normalised"
    changes = f"{AUGMENTED}{_cut_from(dataset)}" if dataset.cropped else UNCROPPED
    changes = "none" if augmentation == "none" else changes
    return f"{stored}; augmentation: {changes}; normalisation: {_normalisation(format)}"


def _cut_from(dataset: DomainDataset) -> str:
    kept = [domain.originals for domain in dataset.domains]
    if any(one is None for one in kept):
        return f", cut from images already resized to {dataset.image_shape[1]} pixels"
    whole = all(
        np.array_equal(domain.sizes, one.sizes)
        for domain, one in zip(dataset.domains, kept, strict=True)
        if one is not None and domain.sizes is not None
    )
    return ", cut from the originals" + ("" if whole else ", of which larger ones are reduced")


def _normalisation(format: InputFormat | None) -> str:
    if format is None:
        return "as the model's weights want it"
    from datasets.input_format import IMAGENET

    if (format.mean, format.deviation) == (IMAGENET.mean, IMAGENET.deviation):
        return "ImageNet's mean and deviation"
    return f"mean {_three(format.mean)}, deviation {_three(format.deviation)}"


def _three(values: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def doubt(dataset: DomainDataset, key: str) -> str | None:
    """A warning if all images are grey or small: augmentation was made for colour photographs.

    Grey is judged by a few images of each domain. None where the augmentation may be right.
    key: the key that turns augmentation off when set to none.
    """
    sizes = [domain.sizes for domain in dataset.domains if domain.sizes is not None]
    if not sizes:
        return None
    largest, stored = max(int(one.max(initial=0)) for one in sizes), dataset.image_shape[1]
    small = f"at most {largest} pixels wide and high" if largest <= SMALL else ""
    grey = "grey" if all(map(_grey, dataset.domains)) else ""
    if not small and not grey:
        return None
    enlarged = f"; dataset.size: {largest} would not enlarge them to {stored}"
    return (
        f"Warning: the images of {dataset.name} are all {' and '.join(filter(None, (grey, small)))}"
        f", and their augmentation is that of colour photographs; {key}: none leaves it out"
        f"{enlarged if small and stored > largest else ''}"
    )


def _grey(domain: Domain) -> bool:
    if domain.images.shape[-1] != 3 or not len(domain):
        return False
    some = np.linspace(0, len(domain) - 1, min(LOOKED_AT, len(domain))).astype(np.int64)
    images = domain.images[some]
    return bool((images == images[..., :1]).all())
