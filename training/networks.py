"""Builds the networks of a run, as they are before it trains."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn

import models
from datasets.domain_dataset import DomainDataset
from datasets.randomness import seed_hash
from models import tuning
from models.network import Network
from training.run import Run
from training.update import Anchor


def networks(
    run: Run,
    dataset: DomainDataset,
    dropout: float,
    tuned: Mapping[str, float],
    anchor: Anchor | None,
) -> tuple[Network, nn.Module | None]:
    """The model of a run, and a copy of its featurizer, if there is an anchor; on the CPU.

    Raises as models.build and tuning.tune.
    """
    # Of the CPU alone, where models are built: torch.manual_seed seeds every kind of device.
    torch.default_generator.manual_seed(seed_hash(run.random_seed, "weights"))
    head = run.head_of(dataset.classes)
    model = models.build(run.model, head, dataset.image_shape, dropout, run.weights)
    original = copy.deepcopy(model.featurizer) if anchor else None
    tuning.tune(model, run.tuning, tuned)
    if run.trains == "classifier":
        model.featurizer.requires_grad_(False)
    return model, original


def frozen_bits(model: nn.Module, original: nn.Module | None) -> list[int]:
    """A sum over the bits of each float32 parameter that does not train.

    No checkpoint holds these parameters: a resumed run compares the sums.
    """
    resting = [p for p in model.parameters() if not p.requires_grad]
    resting += [] if original is None else original.parameters()
    return [int(p.detach().view(torch.int32).sum(dtype=torch.int64)) for p in resting]


def place(run: Run, device: torch.device, *networks: nn.Module | None) -> None:
    """Moves networks to the run's device, in its memory layout."""
    for network in filter(None, networks):
        network.to(device)
        if run.channels_last:
            network.to(memory_format=torch.channels_last)
