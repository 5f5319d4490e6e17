"""Checkpoints of many tools, each with weights of its own: a network is found, or refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import nn

import models
from models.checkpoints import Taken
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
from tests.models.tiny_models import SHAPE, same, whole_clip


def saved(content: object, path: Path) -> str:
    torch.save(content, path)
    return str(path)


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
    if left_out is not None:
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
    save_file(state, tmp_path / "w.safetensors")

    state, what = taken(str(tmp_path / "w.safetensors"))

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


def test_timm_still_resamples_and_refuses_more_than_one(tmp_path: Path) -> None:
    whole = timm.create_model("test_vit")
    state = whole.state_dict()
    other = {key: value + 1 for key, value in state.items()}
    with pytest.raises(ValueError, match="#state_dict_ema"):
        taken(
            saved({"state_dict": state, "state_dict_ema": other}, tmp_path / "w.pth"),
            "timm/test_vit",
        )


def test_a_deeper_network_of_the_same_names_is_refused(tmp_path: Path) -> None:
    deeper = torchvision.models.resnet34().state_dict()

    with pytest.raises(ValueError, match=r"unexpected: state_dict.module.layer1.2.conv1.weight"):
        taken(saved({"state_dict": under("module.", deeper)}, tmp_path / "r34.pth"))


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

    assert library in str(refused.value)
    assert "missing: " in str(refused.value)
    assert "unexpected: model." in str(refused.value)


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
            lambda: {**STATE, "bn1.running_var": torch.full((64,), torch.nan)},
            "bn1.running_var has 64",
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
    assert what.converted == {str(dtype).removeprefix("torch."): 100}


class Code:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return np.save, ("touched.npy", 1)


def test_code_beside_the_weights_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    state, _ = taken(saved({"state_dict": STATE, "hook": Code()}, tmp_path / "w.pth"))

    assert same(state, BARE)
    assert not (tmp_path / "touched.npy").exists()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: torch.save(NET, path), "torch.save\\(model, path\\)"),
        (lambda path: torch.jit.trace(nn.ReLU(), torch.ones(1)).save(path), "TorchScript"),
        (lambda path: path.mkdir(), "is a folder"),
    ],
    ids=["a whole model", "TorchScript", "a folder"],
)
def test_other_files_are_refused_with_the_way_out(
    write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    write(tmp_path / "w.pt")

    with pytest.raises((ValueError, FileNotFoundError), match=message):
        taken(str(tmp_path / "w.pt"))
