"""How images are shown to a network, by name. A new way is a view (see `datasets.views`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from datasets.augmentation.on_device import OnDevice
from datasets.augmentation.on_host import OnHost
from datasets.domain_dataset import DomainDataset
from datasets.input_format import IMAGENET, InputFormat
from datasets.spelling import unknown_name
from datasets.views import View, as_stored

# Of what the network expects, and whether random crops are cut.
AUGMENTATIONS: dict[str, Callable[[InputFormat, bool], View]] = {
    # Resized and normalised, as for evaluation.
    "none": lambda format, cropped: OnHost(format, augmented=False),
    # The field's training transform on the CPU: Pillow's pixels, to the bit.
    "exact": lambda format, cropped: OnHost(format, augmented=True, cropped=cropped),
    # The same draws in float32, where the network computes.
    "device": OnDevice,
}


def view(augmentation: str, format: InputFormat, cropped: bool = True) -> View:
    """What `augmentation` makes of images for a network that expects `format`.

    cropped: whether an augmentation cuts random crops.

    Raises ValueError: unknown augmentation; names the nearest one.
    """
    if augmentation not in AUGMENTATIONS:
        raise unknown_name("augmentation", augmentation, (*AUGMENTATIONS, "auto"))
    return AUGMENTATIONS[augmentation](format, cropped)


def views(
    dataset: DomainDataset,
    augmentation: str,
    device: torch.device,
    format: InputFormat | None = None,
) -> tuple[View, View]:
    """How a run shows a dataset's images while it trains, and when it evaluates.

    Images that were made for a small network, as digits are, are shown as they are stored.

    dataset: what is trained on.
    augmentation: a key of `AUGMENTATIONS`, or `auto`: `device` on a GPU, else `exact`.
    device: where the network computes.
    format: what the network expects; by default ImageNet's colours in the stored size.

    Raises ValueError: unknown augmentation, or one for images that are shown as they are.
    """
    if dataset.domains[0].sizes is None:
        if augmentation not in ("auto", "none"):
            raise ValueError(
                f"images of {dataset.name} are shown as they are, without augmentation "
                f"{augmentation!r}: it must be auto or none"
            )
        return as_stored, as_stored
    if format is None:
        format = replace(IMAGENET, size=dataset.image_shape[1])
    if augmentation == "auto":
        augmentation = "device" if device.type == "cuda" else "exact"
    return view(augmentation, format, dataset.cropped), view("none", format)
