"""Batch norm that stays as pretraining left it."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze(model: nn.Module) -> None:
    """Every batch norm normalises with its running statistics and no longer changes them.

    Its weight and bias still learn, as with SWAD's `freeze_bn` (khanrc/swad). `model.train()`
    undoes it: call it again after that.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
