"""The parameters that do not train: no checkpoint holds them, as each run makes them anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def bits(parameters: Iterable[nn.Parameter]) -> list[int]:
    """A sum over the bits of each float32 parameter, to tell whether they are the same again."""
    return [int(p.detach().view(torch.int32).sum(dtype=torch.int64)) for p in parameters]
