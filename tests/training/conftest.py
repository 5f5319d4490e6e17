"""What tests of runs share."""

from __future__ import annotations

import pytest
from torch import nn

import models


@pytest.fixture
def normed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model "normed", whose featurizer ends in batch norm."""

    def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU()), 16

    monkeypatch.setitem(models.MODELS, "normed", models.Entry(featurizer, ""))
