"""Sweeps of other backbones than the field's ResNet-50 from ImageNet."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models
from torch import Tensor

import models
from search.checks.load_sweep import load
from search.study.plan import plans
from tests.models import tiny_clip
from tests.models.checkpoint_layouts import under
from tests.search.play import first_settings
from tests.training.photographs import photographs
from training.train import train

FOLDER = Path(__file__).parents[2] / "configs"
# The least network of the same kind: its name, and images of few patches.
LEAST = {
    "dinov2": ("timm/vit_small_patch14_dinov2", 28),
    "dinov3": ("timm/vit_tiny_patch16_dinov3_qkvb", 32),
    "clip": (tiny_clip.NAME, 32),
    "swag": ("timm/regnety_002", 32),
    "resnet50-pretrainings": ("timm/resnet18", 32),
}
IMAGENET = (0.485, 0.456, 0.406)
FILES = FOLDER / "resnet50-pretrainings.yaml"
RELEASED = re.findall(r"--set model\.weights=~/(\S+)", FILES.read_text())


@cache
def loaded(name):
    return load(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("name", LEAST)
def test_each_is_normalised_as_its_weights_want(name):
    model = loaded(name).model
    mean = (0.48145466, 0.4578275, 0.40821073) if name == "clip" else IMAGENET
    assert models.colours(model.name, model.weights).mean == mean


@pytest.mark.parametrize("name", LEAST)
def test_a_run_of_each_with_the_least_network_of_its_kind(name, tmp_path, monkeypatch):
    monkeypatch.setenv("STEPPE_CACHE", str(tmp_path / "cache"))
    sweep = loaded(name)
    least, side = LEAST[name]
    found = photographs()
    domains = [
        replace(domain, images=np.ascontiguousarray(domain.images[:, :side, :side]))
        for domain in found.domains
    ]
    last = next(
        plan for plan in plans(sweep).values() if plan.study.algorithm == sweep.algorithms[-1]
    )
    values = {**first_settings(sweep, sweep.algorithms[-1])[0], "batch_size": 2}
    run = replace(
        last.trial(0, values).run,
        dataset=found.name,
        held_out="art",
        model=least,
        weights=str(tiny_clip.write(tmp_path)) if name == "clip" else None,
        steps=1,
        evaluate_every=1,
        device="cpu",
    )

    result = train(run, replace(found, domains=tuple(domains)), lambda _: None)

    assert (result.state, result.steps) == ("completed", 1)


def test_released_files_of_augmix_and_moco_are_taken_whole(tmp_path):
    with torch.device("meta"):
        net = torchvision.models.resnet50()
    draws = torch.Generator().manual_seed(0)

    def drawn() -> dict[str, Tensor]:  # one value all over, so that files are small
        return {
            key: torch.rand((), generator=draws).expand(own.shape).to(own.dtype)
            for key, own in net.state_dict().items()
        }

    own, other = drawn(), drawn()
    bare = {key: value for key, value in own.items() if not key.startswith("fc.")}
    mlp = {f"fc.{i}.{kind}": torch.ones(2, 2) for i in (0, 2) for kind in ("weight", "bias")}
    layouts: dict[str, dict[str, Any]] = {
        "augmix": {"epoch": 89, "model": "resnet50", "state_dict": under("module.", own)},
        "moco_v2": {
            "arch": "resnet50",
            "state_dict": under("module.encoder_q.", bare | mlp)
            | under("module.encoder_k.", other)
            | {"module.queue": torch.ones(2, 8), "module.queue_ptr": torch.zeros(1).long()},
        },
        "moco_v3": {
            "arch": "resnet50",
            "state_dict": under("module.base_encoder.", bare | mlp)
            | under("module.momentum_encoder.", other)
            | under("module.predictor.", mlp),
        },
    }
    assert len(RELEASED) == len(layouts)
    for name, content in layouts.items():
        file = next(Path(path).name for path in RELEASED if Path(path).name.startswith(name))
        torch.save({"epoch": 1, "optimizer": {"state": {}}, **content}, tmp_path / file)
        sweep = load(
            FILES,
            [
                f"name={name.replace('_', '-')}",
                "model.name=resnet50",
                f"model.weights={tmp_path / file}",
            ],
        )
        built = models.build(sweep.model.name, 7, (3, 32, 32), weights=sweep.model.weights)
        state = built.featurizer[0].state_dict()
        assert all(torch.equal(state[key], value) for key, value in bare.items())

    short = {k: v for k, v in content["state_dict"].items() if "layer4.2.conv3" not in k}
    torch.save({**content, "state_dict": short}, tmp_path / "short.pth.tar")
    with pytest.raises(ValueError, match=r"layer4\.2\.conv3"):
        models.build("resnet50", 7, (3, 32, 32), weights=str(tmp_path / "short.pth.tar"))
