"""Checkpoints in the layouts of the tools that write them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.models
from torch import Tensor, nn

State = dict[str, Tensor]


def resnet(seed: int) -> nn.Module:
    """Each tensor has one value all over, so that its file is small (`saved`)."""
    torch.manual_seed(seed)
    with torch.device("meta"):
        net = torchvision.models.resnet18()
    state = {
        key: torch.rand(()).expand(tensor.shape).to(tensor.dtype)
        for key, tensor in net.state_dict().items()
    }
    net.load_state_dict(state, assign=True)
    return net


NET, OTHER = resnet(1), resnet(2)
STATE, OTHERS = NET.state_dict(), OTHER.state_dict()
BARE = {key: value for key, value in STATE.items() if not key.startswith("fc.")}
ARGS = argparse.Namespace(lr=0.1, output=Path("out"))


def under(prefix: str, state: State = BARE) -> State:
    return {prefix + key: value for key, value in state.items()}


def trained() -> dict[str, Any]:
    """An optimizer's state after a step."""
    net = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def domainbed(**more: State) -> dict[str, Any]:
    """As DomainBed's save_checkpoint writes its ERM."""
    head = {"weight": torch.randn(7, 512), "bias": torch.zeros(7)}
    state = {
        **under("featurizer.network."),
        **under("classifier.", head),
        **under("network.0.network."),
        **under("network.1.", head),
    }
    for prefix, part in more.items():
        state |= under(f"{prefix}.network.", part)
    return {
        "args": vars(ARGS),
        "model_input_shape": (3, 224, 224),
        "model_num_classes": 7,
        "model_num_domains": 3,
        "model_hparams": {"lr": np.float64(5e-5), "batch_size": 32},
        "model_dict": state,
    }


HEAD = {"0.weight": torch.randn(8, 512), "2.weight": torch.randn(4, 8)}
# name -> what is saved, the prefix, what is left out
LAYOUTS: dict[str, tuple[Any, str, set[str]]] = {
    "DataParallel": (under("module.", STATE), "", {"fc"}),
    # The names are of any backend; importing the default one takes a second.
    "torch.compile": (torch.compile(NET, backend="eager").state_dict(), "", {"fc"}),
    "DDP around compile": (under("module._orig_mod.", STATE), "", {"fc"}),
    "FSDP and checkpointed activations": (
        {
            key.replace("layer1.", "layer1._fsdp_wrapped_module._checkpoint_wrapped_module."): value
            for key, value in STATE.items()
        },
        "",
        {"fc"},
    ),
    "PyTorch's ImageNet example": (
        {
            "epoch": 3,
            "arch": "resnet18",
            "state_dict": under("module.", STATE),
            "best_acc1": torch.tensor(70.0),
            "optimizer": trained(),
        },
        "state_dict",
        {"state_dict.fc", "best_acc1", "optimizer"},
    ),
    "torchvision's references": (
        {"model": STATE, "optimizer": trained(), "epoch": 3, "args": ARGS},
        "model",
        {"model.fc", "optimizer"},
    ),
    "a number among the weights": ({**STATE, "epoch": 3, "optimizer": trained()}, "", {"fc"}),
    "averaged weights": (torch.optim.swa_utils.AveragedModel(NET).state_dict(), "", {"fc"}),
    "written before batches were counted": (
        {key: value for key, value in STATE.items() if "num_batches" not in key},
        "",
        {"fc"},
    ),
    "a pair": ((STATE, 3), "0", {"0.fc"}),
    "Lightning": (
        {
            "epoch": 1,
            "state_dict": {**under("model.", STATE), "criterion.weight": torch.ones(7)},
            "optimizer_states": [trained()],
            "hyper_parameters": {"root": Path("data")},
        },
        "state_dict.model",
        {"state_dict.model.fc", "state_dict.criterion"},
    ),
    "MMSegmentation": (
        {
            "meta": {"CLASSES": ("cat",)},
            "state_dict": {
                **under("backbone."),
                "decode_head.conv_seg.weight": torch.ones(1, 8, 1, 1),
            },
        },
        "state_dict.backbone",
        {"state_dict.decode_head"},
    ),
    "MoCo v2": (
        {
            "epoch": 200,
            "arch": "resnet18",
            "state_dict": {
                **under("module.encoder_q."),
                **under("module.encoder_q.fc.", HEAD),
                **under("module.encoder_k.", OTHERS),
                "module.queue": torch.randn(8, 16),
                "module.queue_ptr": torch.zeros(1, dtype=torch.int64),
            },
        },
        "state_dict.encoder_q",
        {"state_dict.encoder_q.fc", "state_dict.encoder_k", "state_dict.queue"},
    ),
    "MoCo v3": (
        {
            "state_dict": {
                **under("module.base_encoder."),
                **under("module.base_encoder.fc.", HEAD),
                **under("module.momentum_encoder.", OTHERS),
                **under("module.predictor.", HEAD),
            }
        },
        "state_dict.base_encoder",
        {"state_dict.momentum_encoder", "state_dict.predictor"},
    ),
    "SimSiam": (
        {"state_dict": {**under("module.encoder."), **under("module.predictor.", HEAD)}},
        "state_dict.encoder",
        {"state_dict.predictor"},
    ),
    "BYOL": (
        {**under("online_encoder.net.", STATE), **under("target_encoder.net.", OTHERS)},
        "online_encoder.net",
        {"target_encoder", "online_encoder.net.fc"},
    ),
    "DINO": (
        {
            "student": {**under("module.backbone.", OTHERS), **under("module.head.", HEAD)},
            "teacher": {**under("backbone."), **under("head.", HEAD)},
            "dino_loss": {"center": torch.zeros(1, 8)},
            "args": ARGS,
        },
        "teacher.backbone",
        {"student", "teacher.head", "dino_loss"},
    ),
    "SwAV": (
        {
            **under("module."),
            **under("module.projection_head.", HEAD),
            "module.prototypes.weight": torch.randn(3, 4),
        },
        "",
        {"projection_head", "prototypes"},
    ),
    "Barlow Twins": (
        {"model": {**under("module.backbone."), **under("module.projector.", HEAD)}},
        "model.backbone",
        {"model.projector"},
    ),
    "VISSL": (
        {
            "classy_state_dict": {
                "base_model": {"model": {"trunk": under("_feature_blocks."), "heads": {}}}
            }
        },
        "classy_state_dict.base_model.model.trunk._feature_blocks",
        set(),
    ),
    "SimCLR in a Sequential of the layers": (
        {
            "state_dict": {
                **under("backbone.", nn.Sequential(*list(NET.children())[:-1]).state_dict()),
                **under("projection_head.", HEAD),
            }
        },
        "state_dict.backbone",
        {"state_dict.projection_head"},
    ),
    "DomainBed": (domainbed(), "model_dict.featurizer.network", {"model_dict.classifier"}),
    "MIRO": (
        domainbed(pre_featurizer=OTHERS),
        "model_dict.featurizer.network",
        {"model_dict.pre_featurizer"},
    ),
    "SWAD": (
        {
            "model_dict": {
                **under("module.", domainbed()["model_dict"]),
                "n_averaged": torch.ones(1),
            }
        },
        "model_dict.featurizer.network",
        {"model_dict.n_averaged"},
    ),
    "Steppe's own, compiled": (under("featurizer._orig_mod.0."), "featurizer.0", set()),
}
