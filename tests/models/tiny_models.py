"""Small models of each family, and files of weights for them."""

from __future__ import annotations

from pathlib import Path

import open_clip
import torch
from open_clip import pretrained
from safetensors.torch import save_file
from torch import Tensor

open_clip.add_model_config(Path(__file__).parent / "clip")  # tiny, tiny_resnet, tiny_timm

SHAPE = (3, 32, 32)
NAMES = [
    "timm/test_vit",
    "timm/test_resnet",
    "open_clip/tiny",
    "open_clip/tiny_resnet",
    "open_clip/tiny_timm",
]
WITH_ATTENTION = [name for name in NAMES if name != "timm/test_resnet"]

# Weights that open_clip would think published: as OpenAI's, and as SigLIP's.
PUBLISHED = {
    "openai": pretrained._pcfg(hf_hub="steppe/tiny-clip/", quick_gelu=True),
    "webli": pretrained._slpcfg(hf_hub="steppe/tiny-siglip/tiny.bin"),
}


def whole_clip(**options: object) -> torch.nn.Module:
    """The tiny CLIP with both its towers."""
    torch.manual_seed(1)
    return open_clip.create_model("tiny", **options).eval()


def saved(content: object, path: Path) -> str:
    """The path, as a sweep names it, of a new file of weights in the format of its suffix."""
    (save_file if path.suffix == ".safetensors" else torch.save)(content, path)
    return str(path)


def in_hub(cache: Path, repository: str, name: str) -> Path:
    """Where the hub's client has a file of a repository in its cache; makes the folders."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    path = folder / "snapshots" / ("0" * 40) / name
    path.parent.mkdir(parents=True)
    return path


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
