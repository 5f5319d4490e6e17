"""The splits of a run that are scored, and the batches that it trains on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datasets.augmentation.by_name import views
from datasets.batches import Batches
from datasets.domain_dataset import Domain, DomainDataset
from datasets.input_format import InputFormat
from datasets.randomness import seed_hash
from models.entry import Colours
from training.draws import seed_dropout
from training.evaluation import Part, parts_of
from training.run import Run

MEASURED = 500  # batches on which batch norm's statistics are measured for averaged weights


def data_of(
    run: Run, dataset: DomainDataset, colours: Colours, device: torch.device, batch_size: int
) -> tuple[list[Part], Batches]:
    """The parts that are scored, and the batches of the source domains, as Run.images says."""
    in_training, in_evaluation = views(
        dataset,
        run.augmentation,
        device,
        InputFormat(dataset.image_shape[1], colours.mean, colours.deviation),
    )
    parts = parts_of(dataset, run.held_out, run.seed, in_evaluation, run.left_out)
    sources: dict[str, tuple[Domain, NDArray[np.int64]]] = {}
    for part in parts:
        if part.role == "source" and (part.split == "in" or run.images == "all"):
            _, known = sources.get(part.domain.name, (part.domain, part.indices[:0]))
            sources[part.domain.name] = part.domain, np.concatenate([known, part.indices])
    batches = Batches(
        list(sources.values()),
        batch_size,
        seed_hash(run.random_seed, "batches"),
        device,
        in_training,
        # A CPU has enough to do; for a GPU the next batch is made while it computes.
        threads=0 if device.type == "cpu" else 2,
    )
    return parts, batches


def measure_statistics(model: nn.Module, run: Run, batches: Batches, device: torch.device) -> None:
    """Measures batch norm's running statistics anew, on batches that would follow the last."""

    def later() -> Iterator[Tensor]:
        for step in range(run.steps, run.steps + MEASURED):
            seed_dropout(run.random_seed, step, device)
            yield batches(step).x

    torch.optim.swa_utils.update_bn(later(), model)
