"""Published weights of torchvision's models, and what `weights` may name. No network is needed."""

import shutil
import threading
import time
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision.models

import models
from models.network import Network
from tests.models.checkpoint_layouts import BARE, STATE
from tests.models.tiny_models import SHAPE, same, saved

FILE = "resnet18-f37072fd.pth"  # as torchvision calls its weights of ResNet-18


@pytest.fixture
def file(tmp_path: Path) -> str:
    return saved(STATE, tmp_path / "resnet18.pth")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder of weights, empty, and no network."""

    def unreachable(url: str, *_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def build(weights: str | None) -> Network:
    torch.manual_seed(0)
    return models.build("resnet18", 5, SHAPE, weights=weights)


def is_published(network: Network) -> bool:
    return same(network.featurizer[0].state_dict(), BARE)  # type: ignore[index]


def test_loaded_weights_learn_as_fresh_ones_do(file: str) -> None:
    fresh, loaded = build(None), build(file)

    for (name, one), (other_name, other) in zip(
        fresh.named_parameters(), loaded.named_parameters(), strict=True
    ):
        assert name == other_name
        assert (one.shape, one.dtype, one.stride()) == (other.shape, other.dtype, other.stride())
        assert other.requires_grad
    assert all(not tensor.is_meta for tensor in loaded.state_dict().values())
    loaded(torch.rand(2, *SHAPE)).sum().backward()
    # The classifier is fresh, and follows from torch's seed.
    assert torch.equal(loaded.classifier.weight, build(file).classifier.weight)


def test_published_weights_are_taken_from_torch_hubs_folder(file: str, cache: Path) -> None:
    cache.mkdir(parents=True)
    shutil.copy(file, cache / FILE)

    assert is_published(build("imagenet"))


def test_weights_that_cannot_be_downloaded_are_named_with_the_place_to_put_them(
    cache: Path,
) -> None:
    with pytest.raises(FileNotFoundError) as refusal:
        build("imagenet")

    message = str(refusal.value)
    assert "cannot download the weights 'imagenet' of model 'resnet18'" in message
    assert "Name or service not known" in message
    assert f"get https://download.pytorch.org/models/{FILE} from elsewhere" in message
    assert f"put it at {cache / FILE}" in message
    assert "or give its path as `weights`" in message


def test_a_node_downloads_once_however_many_ask(
    file: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(url: str, path: str, checksum: str, progress: bool) -> None:
        asked.append((url, checksum))
        time.sleep(0.2)
        shutil.copy(file, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    built: list[Network] = []
    threads = [threading.Thread(target=lambda: built.append(build("imagenet"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert asked == [(f"https://download.pytorch.org/models/{FILE}", "f37072fd")]
    assert [is_published(network) for network in built] == [True] * 3


def test_published_weights_are_torchvisions_and_imagenet_is_what_the_published_tables_have() -> (
    None
):
    for name, entry in models.MODELS.items():
        for published in entry.published.values():
            weights = torchvision.models.get_weight(published)
            assert type(weights) is torchvision.models.get_model_weights(name)
    assert models.MODELS["resnet50"].published["imagenet"] == "ResNet50_Weights.IMAGENET1K_V1"


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("resnet50", "imagnet", r"did you mean 'imagenet'\? it takes imagenet, imagenet_v2, the"),
        ("resnet18", "clip", r"model 'resnet18' has no weights 'clip'; it takes imagenet, the"),
        ("cnn", "imagenet", r"'cnn' has no weights 'imagenet'; it takes the path of a file"),
        ("RESNET50", "imagenet", r"unknown model: 'RESNET50'; did you mean 'resnet50'"),
    ],
)
def test_a_wrong_name_of_weights_is_refused(model: str, weights: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        models.weights_file(model, weights)


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "resnet18", "resnet18.pth"):
        with pytest.raises(FileNotFoundError, match=f"'resnet18': there is no file {path}"):
            models.weights_file("resnet18", str(path))


def test_checking_weights_neither_reads_nor_downloads(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()

    models.weights_file("resnet18", str(tmp_path / "empty.pth"))
    models.weights_file("resnet18", "imagenet")

    assert not cache.exists()
