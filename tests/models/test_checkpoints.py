"""Checkpoints of many tools, each with weights of its own: a network is found, or refused."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision.models
from torch import nn

import models
from models.checkpoints import Taken
from models.network import Network
from tests.models.checkpoint_layouts import (
    ARGS,
    BARE,
    LAYOUTS,
    NET,
    OTHERS,
    STATE,
    State,
    under,
)
from tests.models.tiny_models import SHAPE, same, saved, whole_clip


def taken(weights: str, model: str = "resnet18") -> tuple[State, Taken]:
    network = models.build(model, 5, SHAPE, weights=weights)
    assert network.taken is not None
    return network.featurizer[0].state_dict(), network.taken  # type: ignore[index]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_is_found_in_what_its_tool_has_wrapped_it_in(layout: str, tmp_path: Path) -> None:
    content, prefix, left_out = LAYOUTS[layout]

    state, what = taken(saved(content, tmp_path / "last.ckpt"))

    assert same(state, BARE)
    assert what.under == prefix
    assert left_out <= set(what.left_out)
    if layout == "DDP around compile":
        assert what.wrappers == ["_orig_mod", "module"]


def test_files_from_before_torch_16_are_read_too(tmp_path: Path) -> None:
    for name in ("DINO", "MoCo v2", "DomainBed"):
        path = tmp_path / "old.pth.tar"
        torch.save(LAYOUTS[name][0], path, _use_new_zipfile_serialization=False)
        state, what = taken(str(path))
        assert same(state, BARE)
        assert what.under == LAYOUTS[name][1]


def test_safetensors_under_a_prefix_fit(tmp_path: Path) -> None:
    state = {key: tensor.contiguous() for key, tensor in under("model.backbone.").items()}

    state, what = taken(saved(state, tmp_path / "w.safetensors"))

    assert same(state, BARE)
    assert what.under == "model.backbone"


AMBIGUOUS: dict[str, tuple[Any, str, str]] = {
    "timm's EMA": (
        {"state_dict": OTHERS, "state_dict_ema": STATE, "args": ARGS},
        "state_dict",
        "state_dict_ema",
    ),
    "ConvNeXt's EMA": (
        {"model": under("module.", OTHERS), "model_ema": STATE},
        "model",
        "model_ema",
    ),
    "a teacher and a student": ({"student": OTHERS, "teacher": STATE}, "student", "teacher"),
    "two featurizers": (
        {"model_dict": {**under("featurizer_label.", OTHERS), **under("featurizer_domain.")}},
        "model_dict.featurizer_label",
        "model_dict.featurizer_domain",
    ),
}


@pytest.mark.parametrize("layout", AMBIGUOUS)
def test_a_file_with_two_such_networks_asks_for_a_choice(layout: str, tmp_path: Path) -> None:
    content, other, wanted = AMBIGUOUS[layout]
    path = saved(content, tmp_path / "last.pth")

    with pytest.raises(ValueError, match="2 times") as refused:
        taken(path)

    assert f"under {other} and {wanted};" in str(refused.value)
    assert f"{path}#{wanted}" in str(refused.value)
    models.weights_file("resnet18", f"{path}#{wanted}")
    state, what = taken(f"{path}#{wanted}")
    assert same(state, BARE)
    assert what.under == wanted
    with pytest.raises(ValueError, match=f"no part 'emma'; there are: {other.split('.')[0]}"):
        taken(f"{path}#emma")


def test_the_helper_of_a_pair_can_be_asked_for(tmp_path: Path) -> None:
    path = saved(LAYOUTS["MoCo v2"][0], tmp_path / "moco.pth")

    state, _ = taken(f"{path}#state_dict.module.encoder_k")

    assert torch.equal(state["conv1.weight"], OTHERS["conv1.weight"])


def test_two_equal_networks_are_one(tmp_path: Path) -> None:
    state, what = taken(saved({"model": STATE, "ema": copy.deepcopy(STATE)}, tmp_path / "w.pt"))

    assert same(state, BARE)
    assert what.under == "model"


def test_a_file_whose_name_has_a_number_sign_is_that_file(tmp_path: Path) -> None:
    assert same(taken(saved(STATE, tmp_path / "run#3.pt"))[0], BARE)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("cnn", lambda network: network.featurizer[0]),
        ("cnn", lambda network: network.featurizer),
        ("cnn", lambda network: network),
        ("resnet18", lambda network: network),
        ("timm/test_vit", lambda network: network.featurizer[0]),
        ("timm/test_resnet", lambda network: network),
        ("open_clip/tiny", lambda network: network),
    ],
)
def test_steppes_own_state_dicts_fit(
    model: str, part: Callable[[Network], nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(2)
    network = models.build(model, 7, SHAPE, dropout=0.1)

    state, _ = taken(saved(part(network).state_dict(), tmp_path / "own.pth"), model)

    assert same(state, network.featurizer[0].state_dict())  # type: ignore[index]


@pytest.mark.parametrize(
    ("model", "content"),
    [
        ("timm/test_vit", lambda state: {"state_dict": under("module.", state), "args": ARGS}),
        ("timm/test_vit", lambda state: {"teacher": under("backbone.", state)}),
        ("timm/test_resnet", lambda state: {"model_dict": under("featurizer.network.", state)}),
        ("open_clip/tiny", lambda state: {"epoch": 1, "state_dict": under("module.", state)}),
        ("open_clip/tiny", lambda state: {"state_dict": under("model.", state)}),
    ],
)
def test_families_unwrap_the_same(
    model: str, content: Callable[[State], Any], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    name = model.partition("/")[2]
    whole = whole_clip() if "clip" in model else timm.create_model(name)

    found, what = taken(saved(content(whole.state_dict()), tmp_path / "w.pth"), model)

    assert what.under
    of = whole.visual.state_dict() if "clip" in model else whole.state_dict()
    assert all(torch.equal(found[k], of[k]) for k in found if "pos_embed" not in k)


def test_more_than_one_of_a_family_is_refused_too(tmp_path: Path) -> None:
    state = timm.create_model("test_vit").state_dict()
    other = {key: value + 1 for key, value in state.items()}
    path = saved({"state_dict": state, "state_dict_ema": other}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="#state_dict_ema"):
        taken(path, "timm/test_vit")


def test_a_deeper_network_of_the_same_names_is_refused(tmp_path: Path) -> None:
    deeper = torchvision.models.resnet34().state_dict()

    with pytest.raises(ValueError, match=r"unexpected: state_dict.module.layer1.2.conv1.weight"):
        taken(saved({"state_dict": under("module.", deeper)}, tmp_path / "r34.pth"))


@pytest.mark.parametrize("model", ["resnet18", "timm/test_vit", "open_clip/tiny"])
def test_a_file_that_lacks_weights_is_refused(model: str, tmp_path: Path) -> None:
    state = models.build(model, 7, SHAPE).featurizer[0].state_dict()  # type: ignore[index]
    lost = next(iter(state))
    del state[lost]
    path = saved({**state, "projector.weight": torch.zeros(2)}, tmp_path / "other.pth")

    with pytest.raises(ValueError, match=r"do not fit: .*[Mm]issing") as refusal:
        taken(path, model)

    for part in (model, path, lost, "projector.weight"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("state", "library"),
    [
        (lambda: {"vit.embeddings.patch_embeddings.projection.weight": torch.ones(1)}, "Hugging"),
        (lambda: timm.create_model("test_vit").state_dict(), "timm/NAME"),
        (lambda: whole_clip().state_dict(), "open_clip/NAME"),
    ],
)
def test_names_of_another_library_are_recognised(
    state: Callable[[], State], library: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"[01] of the model's 100 tensors") as refused:
        taken(saved({"model": state()}, tmp_path / "w.pth"))

    for part in (library, "missing: ", "unexpected: model."):
        assert part in str(refused.value)
    assert len(str(refused.value)) < 700


def quantised() -> State:
    weight = torch.quantize_per_tensor(STATE["conv1.weight"], 0.1, 0, torch.qint8)
    return {**STATE, "conv1.weight": weight}


@pytest.mark.parametrize(
    ("model", "value"),
    [("resnet18", torch.nan), ("timm/test_resnet", torch.inf), ("open_clip/tiny", torch.nan)],
)
def test_weights_that_are_not_finite_are_refused(model: str, value: float, tmp_path: Path) -> None:
    state = models.build(model, 2, SHAPE).featurizer[0].state_dict()  # type: ignore[index]
    name = [key for key, tensor in state.items() if tensor.is_floating_point()][-1]
    state[name] = state[name].clone()
    state[name].view(-1)[-1] = value

    with pytest.raises(ValueError, match="not finite") as refused:
        taken(saved({"model": state}, tmp_path / "w.pth"), model)

    assert f"model.{name} has 1 NaN or infinite" in str(refused.value)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            lambda: {**STATE, "conv1.weight": torch.zeros(64, 1, 7, 7)},
            r"conv1.weight is \[64, 1, 7, 7\], where the model has \[64, 3, 7, 7\]",
        ),
        (lambda: {**STATE, "bn1.running_var": -torch.ones(64)}, "bn1.running_var, a variance"),
        (
            lambda: {**STATE, "bn1.bias": torch.full((64,), 1e300, dtype=torch.float64)},
            "bn1.bias has 64",
        ),
        (quantised, "conv1.weight is qint8"),
        (lambda: {**STATE, "conv1.weight": STATE["conv1.weight"].char()}, "conv1.weight is int8"),
        (lambda: {**STATE, "bn1.bias": torch.zeros(64, dtype=torch.complex64)}, "is complex64"),
        (lambda: {**STATE, "bn1.bias": STATE["bn1.bias"].to_sparse()}, "bn1.bias is sparse"),
        (lambda: {k: torch.zeros_like(v) for k, v in STATE.items()}, "all of the model's matrices"),
    ],
)
def test_numbers_that_no_network_has_are_refused(
    state: Callable[[], State], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        taken(saved(state(), tmp_path / "w.pth"))


def test_a_head_that_is_not_finite_is_not_taken(tmp_path: Path) -> None:
    state = {**STATE, "fc.weight": torch.full((9, 512), torch.nan)}

    assert same(taken(saved(state, tmp_path / "w.pth"))[0], BARE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_data_types_are_converted_and_said(dtype: torch.dtype, tmp_path: Path) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in STATE.items()}

    found, what = taken(saved(state, tmp_path / "w.pth"))

    assert found["conv1.weight"].dtype == torch.float32
    assert same(found, {k: state[k].to(v.dtype) for k, v in BARE.items()})
    assert what.converted == {str(dtype).removeprefix("torch."): 100}


class Code:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return np.save, ("touched.npy", 1)


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    state, _ = taken(saved({"state_dict": STATE, "hook": Code()}, tmp_path / "w.pth"))
    with pytest.raises(ValueError, match="it must be a state dict"):
        taken(saved({"state": Code()}, tmp_path / "code.pth"))

    assert same(state, BARE)
    assert not (tmp_path / "touched.npy").exists()


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("empty.pth", lambda path: path.touch(), "it must be a state dict"),
        ("page.pth", lambda path: path.write_text("<html>404</html>"), "it must be a state dict"),
        ("page.safetensors", lambda path: path.write_text("<html>"), "it must be a state dict"),
        ("cut_short.pth", lambda path: os.truncate(saved(STATE, path), 9_999), "and whole"),
        ("none.pth", lambda path: saved({"epoch": 3, "fc": {}}, path), "it holds epoch, fc"),
        ("model.pt", lambda path: torch.save(NET, path), r"torch.save\(model, path\)"),
        ("script.pt", lambda path: torch.jit.script(nn.ReLU()).save(path), "TorchScript"),
        ("folder.pt", lambda path: path.mkdir(), "is a folder"),
    ],
)
def test_other_files_are_refused_with_the_way_out(
    name: str, write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    write(tmp_path / name)

    with pytest.raises((ValueError, FileNotFoundError), match=rf"{name}.*{message}"):
        taken(str(tmp_path / name))
