"""Weights that models of timm and open_clip start from. No test needs a network."""

import re
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import Tensor, nn

import models
from models import downloads
from tests.models.tiny_models import PUBLISHED, SHAPE, in_hub, same, whole_clip

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


def featurizer(name: str, weights: object, shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    torch.manual_seed(0)
    return models.build(name, 5, shape, weights=str(weights)).featurizer[0]


def without_head(state: State) -> State:
    return {key: value for key, value in state.items() if not key.startswith("head.")}


def test_timms_published_weights_are_taken_from_the_hubs_cache(hub: Path, whole_vit: State) -> None:
    save_file(whole_vit, in_hub(hub, "timm/test_vit.r160_in1k", "model.safetensors"))

    found = featurizer("timm/test_vit", "r160_in1k", (3, 160, 160))

    assert same(found.state_dict(), without_head(whole_vit))
    assert "state_dict" not in found.pretrained_cfg


def test_position_embeddings_are_resampled_to_the_images(hub: Path, whole_vit: State) -> None:
    save_file(whole_vit, in_hub(hub, "timm/test_vit.r160_in1k", "model.safetensors"))

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
    path = in_hub(hub, repository, name)
    (save_file if path.suffix == ".safetensors" else torch.save)(whole, path)

    tower = featurizer("open_clip/tiny", tag)

    assert isinstance(tower.transformer.resblocks[0].mlp.gelu, activation)
    visual = {k.removeprefix("visual."): v for k, v in whole.items() if k.startswith("visual.")}
    assert same(tower.state_dict(), visual)


def test_clips_position_embeddings_are_resampled_to_the_images(tmp_path: Path) -> None:
    torch.save(whole_clip().state_dict(), tmp_path / "clip.pth")

    tower = featurizer("open_clip/tiny", tmp_path / "clip.pth", (3, 64, 64))

    assert tower.positional_embedding.shape[0] == 1 + 8 * 8


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "part",
    [lambda whole: whole, lambda whole: whole.visual],
    ids=["whole", "tower"],
)
def test_a_file_of_clip_or_of_its_tower_fits(
    part: Callable[[nn.Module], nn.Module], suffix: str, tmp_path: Path
) -> None:
    whole, path = whole_clip(), tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(part(whole).state_dict(), path)

    found = featurizer("open_clip/tiny", path).state_dict()

    assert same(found, whole.visual.state_dict())


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("timm/test_vit", lambda network: network.featurizer[0]),
        ("timm/test_vit", lambda network: network.featurizer),
        ("timm/test_resnet", lambda network: network),
        ("open_clip/tiny", lambda network: network),
    ],
    ids=["bare featurizer", "featurizer with dropout", "network", "network of CLIP"],
)
def test_steppes_own_state_dicts_fit(
    name: str, part: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(2)
    network = models.build(name, 7, SHAPE, dropout=0.1)
    torch.save(part(network).state_dict(), tmp_path / "own.pth")

    found = featurizer(name, tmp_path / "own.pth")

    assert same(found.state_dict(), network.featurizer[0].state_dict())


def test_a_file_of_timms_whole_model_gives_all_but_its_head(
    whole_vit: State, tmp_path: Path
) -> None:
    torch.save(whole_vit, tmp_path / "vit.pth")

    found = featurizer("timm/test_vit", tmp_path / "vit.pth", (3, 160, 160))

    assert same(found.state_dict(), without_head(whole_vit))


@pytest.mark.parametrize("name", ["timm/test_vit", "open_clip/tiny"])
def test_a_file_that_lacks_weights_is_refused(name: str, tmp_path: Path) -> None:
    state = models.build(name, 7, SHAPE).featurizer[0].state_dict()
    lost = next(iter(state))
    del state[lost]
    torch.save({**state, "projector.weight": torch.zeros(2)}, tmp_path / "other.pth")

    with pytest.raises(ValueError, match=r"do not fit: .*[Mm]issing") as refusal:
        featurizer(name, tmp_path / "other.pth")

    for part in (name, str(tmp_path / "other.pth"), lost, "projector.weight"):
        assert part in str(refusal.value)


@pytest.mark.parametrize("name", ["timm/test_vit", "open_clip/tiny"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_is_no_state_dict_is_refused(name: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"page{suffix}").write_text("<html>404</html>")

    with pytest.raises(ValueError, match=r"cannot read weights from .*page.*: it must be a state"):
        featurizer(name, tmp_path / f"page{suffix}")


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
