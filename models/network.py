"""What every model is: features, then one linear layer."""

from __future__ import annotations

from torch import Tensor, nn


class Network(nn.Module):
    """Logits [N, classes] = classifier(featurizer(x)) of images x float32 [N, C, H, W].

    The parts are apart because methods treat them differently (GGA moves the featurizer alone,
    CORAL aligns features). `parameters()` yields the featurizer's first, the classifier's last.

    Args:
        featurizer: maps x to features [N, width].
        classifier: maps features to logits.
    """

    def __init__(self, featurizer: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.featurizer = featurizer
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes]."""
        logits: Tensor = self.classifier(self.featurizer(x))
        return logits
