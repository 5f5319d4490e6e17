"""Texts for networks that have no text tower, so that what needs texts is tried on them too."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import models
from models.entry import Texts
from models.text_head import TextFeatures


@pytest.fixture(autouse=True)
def toy_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    def features(name: str, weights: str | None, texts: Texts) -> TextFeatures:
        draws = torch.Generator().manual_seed(0)
        return TextFeatures(F.normalize(torch.randn(len(texts.classes), 128, generator=draws)), 2.0)

    monkeypatch.setattr(models, "text_features", features)
