"""A CLIP of a few thousand random numbers with its tokenizer, as files that a test writes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import open_clip
import torch

NAME = "open_clip/tiny_text"
MERGES = ["p h", "ph o", "pho t", "phot o</w>", "o f</w>"]


def write(folder: Path) -> Path:
    """Writes model config, merges and weights; returns the file of weights.

    From then on open_clip knows the model as tiny_text.
    """
    bpe = folder / "merges.txt.gz"
    bpe.write_bytes(gzip.compress("\n".join(["#version: 1", *MERGES]).encode()))
    config = json.loads((Path(__file__).parent / "clip" / "tiny.json").read_text())
    config["text_cfg"] |= {
        "context_length": 32,
        "vocab_size": 2 * 256 + len(MERGES) + 2,
        "layers": 2,
        "tokenizer_kwargs": {"bpe_path": str(bpe)},
    }
    configs = folder / "configs"
    configs.mkdir()
    (configs / "tiny_text.json").write_text(json.dumps(config))
    open_clip.add_model_config(configs)
    weights = folder / "tiny_text.pt"
    torch.save(whole().state_dict(), weights)
    return weights


def whole() -> torch.nn.Module:
    """Both towers, with the weights that `write` saves."""
    torch.manual_seed(1)
    clip = open_clip.create_model("tiny_text").eval()
    with torch.no_grad():
        clip.logit_scale.fill_(3.0)
    return clip
