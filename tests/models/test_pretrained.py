"""Weights that a model starts from. No test needs a network."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import Tensor, nn

import models
from models.network import Network

SHAPE = (3, 32, 32)
FILE = "resnet18-f37072fd.pth"  # as torchvision calls its weights of ResNet-18


@pytest.fixture(scope="module")
def whole() -> nn.Module:
    torch.manual_seed(1)
    return torchvision.models.resnet18()


@pytest.fixture(scope="module")
def saved(whole: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(whole.state_dict(), path)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder of weights, empty, and no network."""

    def unreachable(url: str, *_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def build(weights: object) -> Network:
    torch.manual_seed(0)
    return models.build("resnet18", 5, SHAPE, weights=str(weights))


def starts_from(network: Network, state: dict[str, Tensor]) -> bool:
    own = network.featurizer[0].state_dict()  # type: ignore[index]
    assert len(own) == 120
    return all(torch.equal(own[key], state[key]) for key in own)


def test_a_state_dict_of_torchvisions_model_gives_all_but_the_last_layer(
    whole: nn.Module, saved: Path
) -> None:
    network = build(saved)

    assert starts_from(network, whole.state_dict())
    assert network.classifier.weight.shape == (5, 512)


def test_a_safetensors_file_fits(whole: nn.Module, tmp_path: Path) -> None:
    save_file(whole.state_dict(), tmp_path / "resnet18.safetensors")

    assert starts_from(build(tmp_path / "resnet18.safetensors"), whole.state_dict())


def test_the_classifier_is_fresh_and_follows_from_torchs_seed(saved: Path) -> None:
    assert torch.equal(build(saved).classifier.weight, build(saved).classifier.weight)


def test_loaded_weights_learn_as_fresh_ones_do(saved: Path) -> None:
    fresh, loaded = models.build("resnet18", 5, SHAPE), build(saved)

    for (name, one), (other_name, other) in zip(
        fresh.named_parameters(), loaded.named_parameters(), strict=True
    ):
        assert name == other_name
        assert (one.shape, one.dtype, one.stride()) == (other.shape, other.dtype, other.stride())
        assert other.requires_grad
    assert all(not tensor.is_meta for tensor in loaded.state_dict().values())
    loaded(torch.rand(2, *SHAPE)).sum().backward()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("cnn", lambda network: network.featurizer[0]),
        ("cnn", lambda network: network.featurizer),
        ("cnn", lambda network: network),
        ("resnet18", lambda network: network),
    ],
    ids=["bare featurizer", "featurizer with dropout", "network", "network with batch norm"],
)
def test_steppes_own_state_dicts_fit(
    part: Callable[[Network], nn.Module], name: str, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    network = models.build(name, 7, SHAPE, dropout=0.1)
    torch.save(part(network).state_dict(), tmp_path / "own.pth")

    other = models.build(name, 5, SHAPE, weights=str(tmp_path / "own.pth"))

    for key, tensor in network.featurizer.state_dict().items():
        assert torch.equal(tensor, other.featurizer.state_dict()[key]), key


def test_weights_of_half_precision_become_single(whole: nn.Module, tmp_path: Path) -> None:
    half = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in whole.state_dict().items()
    }
    torch.save(half, tmp_path / "half.pth")

    network = build(tmp_path / "half.pth")

    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert starts_from(network, {key: tensor.float() for key, tensor in half.items()})


def test_old_files_that_count_no_batches_fit(whole: nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in whole.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")

    assert build(tmp_path / "old.pth").state_dict()["featurizer.0.bn1.num_batches_tracked"] == 0


def test_keys_that_lack_or_are_too_many_are_named(whole: nn.Module, tmp_path: Path) -> None:
    state = whole.state_dict()
    del state["layer1.0.conv1.weight"], state["bn1.bias"]
    torch.save({**state, "projector.weight": torch.zeros(2)}, tmp_path / "other.pth")

    with pytest.raises(ValueError, match=r"missing: .*; unexpected:") as refusal:
        build(tmp_path / "other.pth")

    message = str(refusal.value)
    assert f"weights of model 'resnet18' in {tmp_path / 'other.pth'}" in message
    assert "98 of the model's 100 tensors" in message
    assert "missing: bn1.bias, layer1.0.conv1.weight; unexpected: " in message
    assert "projector.weight" in message


def test_weights_of_another_model_are_refused_in_few_words(tmp_path: Path) -> None:
    torch.save(models.build("cnn", 2, SHAPE).state_dict(), tmp_path / "cnn.pth")

    with pytest.raises(
        ValueError, match=r"missing: conv1.weight, .* and 95 more; unexp"
    ) as refusal:
        build(tmp_path / "cnn.pth")

    assert len(str(refusal.value)) < 600


def test_a_weight_of_another_shape_is_named(whole: nn.Module, tmp_path: Path) -> None:
    torch.save({**whole.state_dict(), "conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "w.pth")

    with pytest.raises(
        ValueError, match=r"conv1.weight is \[64, 1, 7, 7\], where the model has \[64, 3, 7, 7\]"
    ):
        build(tmp_path / "w.pth")


class Malicious:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (Path("touched"),)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("<html>404</html>"),
        lambda path: torch.save({"state": Malicious()}, path),
    ],
    ids=["empty", "text", "code"],
)
def test_a_file_that_is_no_state_dict_is_refused_and_runs_no_code(
    write: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "bad.pth")

    with pytest.raises(ValueError, match=r"cannot read weights from .*bad.pth: it must be a state"):
        build(tmp_path / "bad.pth")

    assert not (tmp_path / "touched").exists()


def test_a_truncated_file_is_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "half.pth").write_bytes(saved.read_bytes()[:1_000_000])

    with pytest.raises(ValueError, match=r"cannot read weights from .*half.pth.*whole"):
        build(tmp_path / "half.pth")


def test_a_whole_checkpoint_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "checkpoint.pth")

    with pytest.raises(ValueError, match="it holds epoch, state_dict"):
        build(tmp_path / "checkpoint.pth")


def test_published_weights_are_taken_from_torch_hubs_folder(
    whole: nn.Module, saved: Path, cache: Path
) -> None:
    cache.mkdir(parents=True)
    shutil.copy(saved, cache / FILE)

    assert starts_from(build("imagenet"), whole.state_dict())


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
    whole: nn.Module, saved: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(url: str, path: str, checksum: str, progress: bool) -> None:
        asked.append((url, checksum))
        time.sleep(0.2)
        shutil.copy(saved, path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    built: list[Network] = []
    threads = [threading.Thread(target=lambda: built.append(build("imagenet"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert asked == [(f"https://download.pytorch.org/models/{FILE}", "f37072fd")]
    assert len(built) == 3
    assert all(starts_from(network, whole.state_dict()) for network in built)


def test_every_name_of_published_weights_is_torchvisions() -> None:
    for name, entry in models.MODELS.items():
        for published in entry.published.values():
            weights = torchvision.models.get_weight(published)
            assert type(weights) is torchvision.models.get_model_weights(name)


def test_imagenet_is_the_first_version_which_the_published_tables_have() -> None:
    published = models.MODELS["resnet50"].published
    assert published == {
        "imagenet": "ResNet50_Weights.IMAGENET1K_V1",
        "imagenet_v2": "ResNet50_Weights.IMAGENET1K_V2",
    }


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("resnet50", "imagnet", r"did you mean 'imagenet'\? it takes imagenet, imagenet_v2, the"),
        ("resnet18", "clip", r"model 'resnet18' has no weights 'clip'; it takes imagenet, the"),
        ("cnn", "imagenet", r"'cnn' has no weights 'imagenet'; it takes the path of a file"),
        ("resnet5", "imagenet", r"unknown model: 'resnet5'; did you mean 'resnet50'"),
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
