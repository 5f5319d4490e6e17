"""A head made of texts: the cosines of an image's features and a sentence on each class."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.entry import Embed, Texts
from models.weight_files import DIGEST


@dataclass(frozen=True)
class TextFeatures:
    """One unit vector for each class, [classes, width], and the temperature tau of the logits."""

    features: Tensor
    scale: float

    @classmethod
    def of(cls, embeddings: Tensor, log_scale: float) -> TextFeatures:
        """Of the embeddings of all prompts, [classes, prompts, width].

        Each is normalised, their mean over the prompts is normalised again. Radford et al. 2021,
        arXiv 2103.00020, section 3.1.4.
        """
        mean = F.normalize(embeddings, dim=-1).mean(1)
        return cls(F.normalize(mean, dim=-1), math.exp(log_scale))


class Normalised(nn.Module):
    """Features [N, width] of length 1, in the weights' precision whatever autocast says."""

    def forward(self, features: Tensor) -> Tensor:
        """Unit vectors."""
        with _exact(features):
            whole = features if features.dtype == torch.float64 else features.float()
            return F.normalize(whole, dim=1)


class TextHead(nn.Linear):
    """Logits tau <f, t_c> of unit features f and texts t: W = tau t, b = 0 at first.

    The logits are those of CLIP; W and b may train (Wortsman et al. 2022, arXiv 2109.01903). With
    tau = 100, bfloat16 would leave logits 8 bits, so autocast does not reach them.

    Without texts, as for weights that are loaded into it, W and b are drawn.
    """

    similarity: Tensor | None

    def __init__(self, width: int, classes: int, texts: TextFeatures | None = None) -> None:
        super().__init__(width, classes)
        alike = None
        if texts is not None:
            with torch.no_grad():
                self.weight.copy_(texts.scale * texts.features)
                self.bias.zero_()
            alike = (texts.scale * texts.features @ texts.features.T).to(self.weight.dtype)
        # tau <t_i, t_j>, [classes, classes]
        self.register_buffer("similarity", alike, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, classes]."""
        with _exact(features):
            return F.linear(features.to(self.weight.dtype), self.weight, self.bias)


def _exact(features: Tensor) -> AbstractContextManager[object]:
    device = features.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def features_of(embed: Embed, texts: Texts, key: Sequence[object]) -> TextFeatures:
    """The features of texts, which are computed once for a user and kept in a file.

    key: what the embeddings depend on besides the sentences. The file lies in `texts/` of
    STEPPE_CACHE, or of the user's cache folder; where it cannot be written, none is.

    Raises as `embed`.
    """
    named = json.dumps([*map(str, key), texts.classes, texts.prompts])
    file = _folder() / f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.texts"
    with suppress(OSError):
        content = file.read_bytes()
        digest, content = content[:DIGEST], content[DIGEST:]
        if hashlib.sha256(content).digest() == digest:  # otherwise it is damaged, and made again
            kept = safetensors.torch.load(content)
            return TextFeatures(kept["features"], float(kept["scale"]))
    embeddings, log_scale = embed(texts.sentences)
    found = TextFeatures.of(torch.unflatten(embeddings, 0, (len(texts.classes), -1)), log_scale)
    scale = torch.tensor(found.scale, dtype=torch.float64)
    content = safetensors.torch.save({"features": found.features.contiguous(), "scale": scale})
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.{os.getpid()}")
        aside.write_bytes(hashlib.sha256(content).digest() + content)
        aside.replace(file)
    return found


def _folder() -> Path:
    chosen = os.environ.get("STEPPE_CACHE")
    if chosen:
        return Path(chosen).expanduser() / "texts"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steppe" / "texts"
