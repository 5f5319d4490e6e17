"""What every model is: features, then one linear layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.checkpoints import Taken

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

    Args:
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
