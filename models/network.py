"""What every model is: features, then one linear layer; and layers that stay as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.checkpoints import Taken
from models.entry import IMAGENET, Colours
from models.torch_private import BatchNorm, version


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


class Frozen(nn.Module):
    """Layers that stay as they are: in evaluation mode for good, outside of autograd's graph.

    What they made of a batch is kept until they see another: the second pass of a sharpness-aware
    step does not go through them again.
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.frozen = layers.requires_grad_(False)
        self.train()
        self._seen: tuple[Tensor, int, Tensor] | None = None

    def train(self, mode: bool = True) -> Frozen:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """What the layers make of x, without a graph."""
        if self._seen is not None and self._seen[0] is x and self._seen[1] == version(x):
            return self._seen[2]
        with torch.no_grad():
            features: Tensor = self.frozen(x)
        if torch.is_grad_enabled():  # an evaluation sees each batch once
            self._seen = (x, version(x), features)
        return features
