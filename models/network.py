"""What every model is: features, then one linear layer; frozen batch norm; and nearest names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from models.checkpoints import Taken
from models.torch_private import BatchNorm

Shape = tuple[int, int, int]  # (C, H, W) of an image
Three = tuple[float, float, float]


@dataclass(frozen=True)
class Colours:
    """How a featurizer wants photographs: each colour's values are (x / 255 - mean) / deviation."""

    mean: Three
    deviation: Three


IMAGENET = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Network(nn.Module):
    """Logits [N, classes] = classifier(featurizer(x)) of images x float32 [N, C, H, W].

    The parts are apart because methods treat them differently (GGA moves the featurizer alone,
    CORAL aligns features). `parameters()` yields the featurizer's first, the classifier's last.

    featurizer: maps x to features [N, width].
    classifier: maps features to logits.
    colours: what the featurizer's weights were made for.
    taken: what of a file its weights are; None without one.
    """

    def __init__(
        self,
        featurizer: nn.Module,
        classifier: nn.Linear,
        colours: Colours = IMAGENET,
        taken: Taken | None = None,
    ) -> None:
        super().__init__()
        self.featurizer = featurizer
        self.classifier = classifier
        self.colours = colours
        self.taken = taken

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes]."""
        logits: Tensor = self.classifier(self.featurizer(x))
        return logits


def freeze_batch_norm(model: nn.Module) -> None:
    """Every batch norm normalises with its running statistics and no longer changes them.

    Its weight and bias still learn, as with SWAD's `freeze_bn` (khanrc/swad). `model.train()`
    undoes it: call it again after that.
    """
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.eval()


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Means [width] and variances [width] of every batch norm, the tensors themselves."""
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    found = [own for norm in norms for own in (norm.running_mean, norm.running_var)]
    return [own for own in found if own is not None]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, whatever its case; None if none is like it.

    As in datasets.spelling: neither folder imports the other.
    """
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[close[0]] if close else None
