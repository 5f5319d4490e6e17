"""An exported model is the one that was trained, in plain PyTorch, from its folder alone."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

import datasets
import models
from datasets.augmentation.by_name import view
from datasets.input_format import InputFormat
from datasets.views import Block
from models import exported, tuning
from models.exported import Images, load_exported
from models.tuning import plain_state
from tests.datasets.photos import picture, tree
from tests.models.tiny_models import NAMES, PUBLISHED, SHAPE, in_hub, whole_clip

CLASSES = ("dog", "no", "house")  # a YAML reader might take the second for false
COLOURS = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))


def write(folder: Path, network: nn.Module, name: str, weights: str | None = None) -> Path:
    images = Images(*SHAPE, *COLOURS)
    exported.write(folder, name, weights, CLASSES, images, plain_state(network), about={"more": 1})
    return folder


def trained(name: str, weights: str | None = None, how: str = "full") -> nn.Module:
    """A model after a few changes of all that may change."""
    torch.manual_seed(3)
    network = models.build(name, len(CLASSES), SHAPE, 0.1, weights)
    tuning.tune(network, how, {})
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    network.train()(torch.rand(8, *SHAPE))  # running statistics
    return network.eval()


@pytest.mark.parametrize(
    ("name", "how"),
    [("cnn", "full"), *((name, "full") for name in NAMES),
     ("timm/test_vit", "lora"), ("open_clip/tiny", "lora"), ("timm/test_resnet", "head")],
)  # fmt: skip
def test_it_gives_the_logits_of_the_trained_model(tmp_path, name, how):
    network = trained(name, how=how)
    random = torch.get_rng_state()

    model = load_exported(write(tmp_path, network, name))

    x = torch.rand(4, *SHAPE)
    torch.set_rng_state(random)
    assert not model.training
    assert model.classes == CLASSES
    with torch.no_grad():
        assert torch.equal(model(x), network(x))


def test_it_is_built_for_the_published_weights_that_it_began_with_and_does_not_read_them(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", PUBLISHED)
    cached = in_hub(tmp_path / "hub", "steppe/tiny-clip", "open_clip_model.safetensors")
    save_file(whole_clip(force_quick_gelu=True).state_dict(), cached)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: str(cached))
    network = trained("open_clip/tiny", "openai")
    write(tmp_path, network, "open_clip/tiny", "openai")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: pytest.fail("asked"))

    model = load_exported(tmp_path)

    x = torch.rand(4, *SHAPE)
    with torch.no_grad():
        assert torch.equal(model(x), network(x))  # QuickGELU, as those weights want it


def test_a_picture_is_shown_to_it_as_in_the_evaluations(tmp_path):
    classes = [f"class_{i}" for i in range(3)]
    root = tree(tmp_path / "images", ["one", "two"], classes, 2)
    dataset = datasets.load("ImageFolders", root, size=32)
    domain = dataset.domains[0]
    rows = np.arange(len(domain))
    shown = view("none", InputFormat(32, *COLOURS))(
        [Block(domain, rows)], 0, 0, torch.device("cpu")
    ).run()
    model = load_exported(write(tmp_path, trained("cnn"), "cnn"))

    from PIL import Image

    files = sorted((root / "one").rglob("*.jpg"))
    assert torch.equal(torch.stack([model.input_of(Image.open(file)) for file in files]), shown)


def test_grey_pictures_are_grey_and_other_channels_are_refused(tmp_path):
    write(tmp_path, models.build("cnn", 3, (1, 8, 8)), "cnn")
    card = yaml.safe_load((tmp_path / "model.yaml").read_text())
    card["images"] = {"channels": 1, "height": 8, "width": 8, "mean": [0.0], "deviation": [1.0]}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(card))
    model = load_exported(tmp_path)
    x = model.input_of(picture(0))
    assert x.shape == (1, 8, 8)
    assert 0 < x.max() <= 1
    model.images = Images(2, 8, 8, (0, 0), (1, 1))
    with pytest.raises(ValueError, match="2 channels"):
        model.input_of(picture(0))


def test_a_folder_that_is_no_whole_export_is_named_with_the_reason(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no model\.yaml"):
        load_exported(tmp_path)
    write(tmp_path, trained("cnn"), "cnn")
    good = (tmp_path / "model.yaml").read_text()
    for bad, reason in (
        (good.replace("format: 1", "format: 2"), "newer"),
        (good.replace("classes", "klasses"), "KeyError: 'classes'"),
        ("just text", "cannot be read"),
        (": [", "cannot be read"),
    ):
        (tmp_path / "model.yaml").write_text(bad)
        with pytest.raises(ValueError, match=reason):
            load_exported(tmp_path)
    (tmp_path / "model.yaml").write_text(good.replace("name: cnn", "name: mlp"))
    with pytest.raises(ValueError, match="is not of the model"):
        load_exported(tmp_path)
    (tmp_path / "model.yaml").write_text(good)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="cannot read weights"):
        load_exported(tmp_path)
