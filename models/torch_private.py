"""What Steppe uses of torch that has no public name, in one place.

tests/training/test_optimizers.py compares the fused kernels with torch.optim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.modules.dropout import _DropoutNd as Dropout

__all__ = ["BatchNorm", "Dropout", "copy_all", "fused_adam", "fused_adamw", "fused_sgd", "version"]

fused_adam = torch._fused_adam_
fused_adamw = torch._fused_adamw_
fused_sgd = torch._fused_sgd_


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copies each source into the target beside it, in one call."""
    torch._foreach_copy_(list(targets), list(sources))


def version(tensor: Tensor) -> int:
    """A number that grows whenever the tensor is changed in place."""
    return tensor._version
