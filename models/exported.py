"""A trained model in a folder, for use in plain PyTorch. `python -m search export` writes it.

from models.exported import load_exported
model = load_exported("exported/PACS.resnet50.SAGM.sketch.0.7")
x = torch.stack([model.input_of(Image.open(file)) for file in files])
names = [model.classes[i] for i in model(x).argmax(1)]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

import models
from models.entry import Texts
from models.network import Network
from models.weight_files import read

if TYPE_CHECKING:
    from PIL import Image

WEIGHTS = "model.safetensors"
CARD = "model.yaml"
FORMAT = 1

# Pillow's modes of images, by their number of channels.
MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Images:
    """The images that a model takes: 8-bit values x as (x / 255 - mean) / deviation, by channel."""

    channels: int
    height: int
    width: int
    mean: Sequence[float]
    deviation: Sequence[float]


class Exported(nn.Module):
    """A model with what is needed to use it: the names of its classes and how it takes images."""

    def __init__(self, network: Network, classes: Sequence[str], images: Images) -> None:
        super().__init__()
        self.network = network
        self.classes = tuple(classes)
        self.images = images

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of normalised images float32 [N, C, H, W]."""
        logits: Tensor = self.network(x)
        return logits

    def input_of(self, image: Image.Image) -> Tensor:
        """A picture as in the evaluations of its training, float32 [C, H, W].

        Brought to H x W by Pillow's bilinear filter. Raises ValueError if a picture has other
        channels than the images of the training, as those of ColoredMNIST.
        """
        wanted = self.images
        if wanted.channels not in MODES:
            raise ValueError(
                f"the model takes images of {wanted.channels} channels, which no picture has; give "
                "it float32 [N, C, H, W]"
            )
        picture = image.convert(MODES[wanted.channels])
        size = (wanted.width, wanted.height)
        if picture.size != size:
            picture = picture.resize(size, resample=2)  # bilinear
        pixels = torch.from_numpy(np.array(picture)).reshape(*size[::-1], wanted.channels)
        mean, deviation = (
            torch.tensor(x).reshape(-1, 1, 1) for x in (wanted.mean, wanted.deviation)
        )
        return (pixels.permute(2, 0, 1) / 255).sub_(mean).div_(deviation)


def load_exported(folder: str | Path) -> Exported:
    """The model of a folder, on the CPU, in evaluation mode.

    Nothing else is read, no published weights either. torch's random numbers stay as they are.

    Raises FileNotFoundError if the folder lacks one of the two files, ValueError if they cannot be
    read or do not belong together, ModuleNotFoundError if the model's library is not installed.
    """
    place = Path(folder)
    for name in (CARD, WEIGHTS):
        if not (place / name).is_file():
            raise FileNotFoundError(f"{place} is no exported model: it holds no {name}")
    try:
        card = yaml.safe_load((place / CARD).read_bytes())
        if card["format"] > FORMAT:
            raise ValueError(f"its format {card['format']} is newer than this Steppe's, {FORMAT}")
        images = Images(**card["images"])
        name, weights = card["model"]["name"], card["model"]["weights"]
        linear = card["model"].get("head", "linear") == "linear"
        classes = [str(name) for name in card["classes"]]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{place / CARD} cannot be read: {type(error).__name__}: {error}"
        ) from error
    shape = (images.channels, images.height, images.width)
    with torch.random.fork_rng(devices=[]):
        head = len(classes) if linear else Texts(tuple(classes))
        network = models.build(name, head, shape, weights=weights, load=False)
    try:
        network.load_state_dict(read(place / WEIGHTS))
    except RuntimeError as error:
        raise ValueError(f"{place / WEIGHTS} is not of the model in {CARD}: {error}") from error
    return Exported(network, classes, images).eval()


def write(
    folder: Path,
    name: str,
    weights: str | None,
    classes: Sequence[str],
    images: Images,
    state: Mapping[str, Tensor],
    *,
    about: Mapping[str, Any],
    head: str = "linear",
) -> None:
    """Writes the two files.

    folder: exists.
    name, weights: of models.build.
    classes: names, in the order of the logits.
    images: what the model takes.
    state: the model's state dict, without what tuning adds (models.tuning.plain_state).
    about: plain values, for readers; nothing here needs them.
    head: `linear`, or of texts.
    """
    card = {
        "format": FORMAT,
        "model": {"name": name, "weights": weights, "head": head},
        "classes": list(classes),
        "images": asdict(images) | {"mean": list(images.mean), "deviation": list(images.deviation)},
        **about,
    }
    text = yaml.safe_dump(card, sort_keys=False, default_flow_style=None, width=100)
    (folder / CARD).write_text(text)
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(dict(state)))
