"""The first step of a run, to see whether it can be taken at all."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor

import models
from datasets.batches import DomainBatch
from datasets.domain_dataset import DomainDataset
from datasets.randomness import seed_hash
from models import tuning
from models.network import freeze_batch_norm
from models.text_head import TextFeatures, TextHead
from training import algorithms, optimizers
from training.anchor import anchor_state
from training.draws import StepDraws
from training.passes import Passes
from training.run import Run
from training.schedules import CONSTANT
from training.update import Step, take_step
from training.weights import Weights

CPU, META = torch.device("cpu"), torch.device("meta")
# Weights times samples up to which numbers cost less than the first operation on the meta device,
# which imports torch's compiler: two seconds.
SMALL = 1e8


def rehearse(run: Run, dataset: DomainDataset) -> None:
    """Takes the first step of a run, of a large network without numbers (torch's meta device).

    It is the step that the trial will take: the same model, passes, penalties and optimizer, at
    little cost in memory, and without reading an image. GGA searches once instead of 250 times.

    Raises whatever the step raises, such as ValueError for a batch that is too small for the
    algorithm or for batch norm. An operation that cannot do without numbers tells nothing, and is
    passed over.
    """
    values = dict(run.hyperparameters)
    count = int(values.get("batch_size", 32))
    own = algorithms.hyperparameters(run.algorithm)
    numbers = {name: value for name, value in values.items() if name in own}
    if "search_steps" in own:
        numbers |= {"search_steps": 1, "start": 0}
    sources = len(dataset.domains) - len(run.unseen)
    update = algorithms.build(run.algorithm, numbers, CONSTANT)
    outline = models.outline(run.model, dataset.image_shape)
    size = sum(own.numel() for own in outline.parameters())
    device = CPU if size * sources * count <= SMALL else META
    with torch.random.fork_rng(devices=[]), device:
        model = models.build(run.model, len(dataset.classes), dataset.image_shape)
        original = None if update.anchor is None else copy.deepcopy(model.featurizer)
        tuning.tune(model, run.tuning, {})
        if run.head != "linear":
            classes, width = model.classifier.weight.shape
            texts = TextFeatures(torch.ones(classes, width), 1.0)
            model.classifier = TextHead(width, classes, texts)
    weights = Weights(model)

    optimizer = partial(
        optimizers.build, run.optimizer, lr=1e-3, weight_decay=0.0, momentum=run.momentum
    )
    anchor = anchor_state(update.anchor, model, original, dataset.image_shape, optimizer)
    model.train()
    if run.bn == "frozen":
        freeze_batch_norm(model)
    batch = DomainBatch(
        x=torch.zeros(sources * count, *dataset.image_shape, device=device),
        y=torch.zeros(sources * count, dtype=torch.int64, device=device),
        domain=torch.zeros(sources * count, dtype=torch.int64, device=device),
        sizes=(count,) * sources,
    )
    step = Step(
        number=0,
        passes=Passes(
            model,
            weights,
            batch,
            freeze_second=run.bn_second_pass == "frozen",
            pieces=run.micro_batches,
            anchor=anchor,
        ),
        weights=weights,
        draws=_NoNumbers(seed_hash("rehearsal"), 0, torch.device("cpu")),
        anchor=anchor,
    )
    try:
        take_step(update, step, optimizer(weights.flat, sizes=weights.sizes))
    except NotImplementedError:
        return  # an operation without a kernel for shapes alone
    except RuntimeError as error:
        if "meta" in str(error):  # it asked a tensor for its numbers
            return
        raise


class _NoNumbers(StepDraws):
    """Draws whose tensors are as empty as the others of the meta device."""

    def uniform(self, like: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.empty_like(like) if out is None else out

    def normal(self, like: Tensor) -> Tensor:
        return torch.empty_like(like)
