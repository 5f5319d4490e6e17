"""Weights that models of timm and open_clip start from. No test needs a network."""

import re
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor, nn

import models
from models import downloads
from tests.models.tiny_models import PUBLISHED, SHAPE, in_hub, same, saved, whole_clip

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def whole_vit() -> State:
    torch.manual_seed(1)
    return timm.create_model("test_vit").state_dict()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty, and no network."""
    real = huggingface_hub.hf_hub_download

    def download(repository: str, name: str, local_files_only: bool = False) -> str:
        if not local_files_only:
            raise LocalEntryNotFoundError("we cannot find the file. Please check your connection.")
        return real(repository, name, cache_dir=tmp_path, local_files_only=True)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", PUBLISHED)
    return tmp_path


def featurizer(name: str, weights: str, shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    torch.manual_seed(0)
    return models.build(name, 5, shape, weights=weights).featurizer[0]


def test_timms_published_weights_are_taken_from_the_hubs_cache(hub: Path, whole_vit: State) -> None:
    saved(whole_vit, in_hub(hub, "timm/test_vit.r160_in1k", "model.safetensors"))

    found = featurizer("timm/test_vit", "r160_in1k", (3, 160, 160))

    without_head = {key: own for key, own in whole_vit.items() if not key.startswith("head.")}
    assert same(found.state_dict(), without_head)
    assert "state_dict" not in found.pretrained_cfg


def test_position_embeddings_are_resampled_to_the_images(hub: Path, whole_vit: State) -> None:
    saved(whole_vit, in_hub(hub, "timm/test_vit.r160_in1k", "model.safetensors"))

    found = featurizer("timm/test_vit", "r160_in1k").state_dict()

    assert found["pos_embed"].shape[1] == 1 + 2 * 2
    assert whole_vit["pos_embed"].shape[1] == 1 + 10 * 10
    del found["pos_embed"]
    assert all(torch.equal(found[key], whole_vit[key]) for key in found)


@pytest.mark.parametrize(
    ("tag", "repository", "name", "activation"),
    [
        ("openai", "steppe/tiny-clip", "open_clip_model.safetensors", open_clip.model.QuickGELU),
        ("webli", "steppe/tiny-siglip", "tiny.bin", nn.GELU),
    ],
)
def test_clips_published_weights_come_with_the_activation_they_were_trained_with(
    tag: str, repository: str, name: str, activation: type, hub: Path
) -> None:
    whole = whole_clip().state_dict()
    saved(whole, in_hub(hub, repository, name))

    tower = featurizer("open_clip/tiny", tag)

    assert isinstance(tower.transformer.resblocks[0].mlp.gelu, activation)
    visual = {k.removeprefix("visual."): v for k, v in whole.items() if k.startswith("visual.")}
    assert same(tower.state_dict(), visual)


def test_clips_position_embeddings_are_resampled_to_the_images(tmp_path: Path) -> None:
    path = saved(whole_clip().state_dict(), tmp_path / "clip.pth")

    tower = featurizer("open_clip/tiny", path, (3, 64, 64))

    assert tower.positional_embedding.shape[0] == 1 + 8 * 8


@pytest.mark.parametrize("part", ["whole.pth", "tower.safetensors"])
def test_a_file_of_clip_or_of_its_tower_fits(part: str, tmp_path: Path) -> None:
    whole = whole_clip()
    path = saved((whole if "whole" in part else whole.visual).state_dict(), tmp_path / part)

    found = featurizer("open_clip/tiny", path)

    assert same(found.state_dict(), whole.visual.state_dict())


@pytest.mark.parametrize(
    ("name", "tag", "file"),
    [
        ("timm/test_vit", "r160_in1k", "model.safetensors of .*/timm/test_vit.r160_in1k"),
        ("open_clip/tiny", "openai", "open_clip_model.safetensors of .*/steppe/tiny-clip"),
    ],
)
def test_weights_that_cannot_be_downloaded_are_named_with_what_to_do(
    name: str, tag: str, file: str, hub: Path
) -> None:
    with pytest.raises(FileNotFoundError) as refusal:
        featurizer(name, tag)

    message = str(refusal.value)
    assert f"cannot download the weights {tag!r} of model {name!r}" in message
    assert "(we cannot find the file)" in message
    assert re.search(f"get {file} from elsewhere", message)
    assert message.endswith("give its path as `weights`")


def test_the_hub_is_asked_only_for_what_its_cache_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repository: str, name: str, local_files_only: bool = False) -> str:
        asked.append((name, local_files_only))
        if local_files_only and len(asked) < 3:
            raise LocalEntryNotFoundError("not here")
        return f"/cache/{name}"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)

    assert downloads.from_hugging_face("a/b", ("x", "y"), "it") == Path("/cache/x")
    assert asked == [("x", True), ("y", True), ("x", False)]
    assert downloads.from_hugging_face("a/b", ("x", "y"), "it") == Path("/cache/x")
    assert asked[3:] == [("x", True)]


def test_weights_that_lie_at_an_address_are_downloaded_as_torchvisions_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def download(url: str, path: str, checksum: str | None, progress: bool) -> None:
        seen.append((url, checksum))
        Path(path).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    for url in ("https://x/gcvit-274050fa.pth", "https://x/plain.pth", "https://x/plain.pth"):
        downloads.from_url(url, "it")

    assert seen == [("https://x/gcvit-274050fa.pth", "274050fa"), ("https://x/plain.pth", None)]
