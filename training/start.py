"""Where a run starts: from its model as it was built, or once its classifier was trained alone.

Linear probing before fine-tuning: Kumar et al. 2022, arXiv 2202.10054. As the start that all runs
of a study share, so that their weights can be averaged: Rame et al. 2022 (DiWA), arXiv 2205.09739.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from datasets.domain_dataset import DomainDataset
from models.torch_private import BatchNorm
from training.checkpoint import Checkpoint, Interrupted
from training.computation import backends
from training.run import Run
from training.trainer import Trainer
from training.update import FORWARD


@dataclass(frozen=True)
class Start:
    """What training the classifier alone has changed in a model, and what that cost.

    tensors: the classifier's parameters and batch norm's buffers on the CPU, by their names in the
    model's state dict. seconds: of training. passes: as Passes.spent; a step costs a forward.
    """

    tensors: dict[str, Tensor]
    seconds: float
    passes: float

    @property
    def finite(self) -> bool:
        """Whether all numbers are."""
        return all(bool(tensor.isfinite().all()) for tensor in self.tensors.values())


def probe_of(run: Run) -> Run:
    """The run that trains the classifier alone, with Adam, for a run that starts from it.

    It is the same for all hyperparameters, algorithms and averages, so that all of them can start
    from the same weights.
    """
    return Run(
        dataset=run.dataset,
        root=run.root,
        model=run.model,
        algorithm="ERM",
        held_out=run.held_out,
        left_out=run.left_out,
        seed=run.seed,
        steps=run.start_steps,
        evaluate_every=run.start_steps,
        hyperparameters={"lr": run.start_lr, "batch_size": run.start_batch_size},
        weights=run.weights,
        images=run.images,
        head=run.head,
        prompts=run.prompts,
        trains="classifier",
        micro_batches=run.micro_batches,
        bn=run.bn,
        augmentation=run.augmentation,
        device=run.device,
        precision=run.precision,
        tf32=run.tf32,
        deterministic=run.deterministic,
        channels_last=run.channels_last,
        compile=run.compile,
    )


def start_of(run: Run, dataset: DomainDataset, leaving: Callable[[], bool]) -> Start | None:
    """What a run starts from, trained now; None if that is its model as it is."""
    return None if run.start == "model" else linear_probe(run, dataset, leaving=leaving)


def linear_probe(
    run: Run,
    dataset: DomainDataset,
    save: Callable[[Callable[[], Checkpoint]], None] | None = None,
    resume: Checkpoint | None = None,
    leaving: Callable[[], bool] = lambda: False,
) -> Start:
    """Trains the classifier for a run that starts from it (Run.start); scores nothing.

    save, resume, leaving: as of `train`; checkpoints are offered as often as the run is evaluated.

    Raises ValueError as Trainer does, and Interrupted when it leaves.
    """
    with backends(run.tf32, run.deterministic):
        trainer = Trainer(probe_of(run), dataset)
        if resume is not None:
            trainer.restore(resume)
        while not trainer.over:
            stays = trainer.train_on(run.evaluate_every, run.start_steps, leaving)
            if save is not None and (not stays or trainer.step % run.evaluate_every == 0):
                save(trainer.checkpoint)
            if not stays:
                raise Interrupted(f"asked to leave at step {trainer.step} of the linear probe")
        tensors = {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in changed(trainer.model).items()
        }
    return Start(tensors, trainer.seconds, trainer.passes * FORWARD)


@torch.no_grad()
def begin_from(model: nn.Module, start: Start) -> None:
    """Puts what the start has changed into a model."""
    for name, tensor in changed(model).items():
        tensor.copy_(start.tensors[name])


def changed(model: nn.Module) -> dict[str, Tensor]:
    """What linear probing changes, by name, not copied."""
    found: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        if path == "classifier":
            found |= {f"{path}.{name}": own for name, own in module.named_parameters()}
        if isinstance(module, BatchNorm):
            found |= {f"{path}.{name}": own for name, own in module.named_buffers()}
    # torch.compile puts a name of its own before those of what it wraps.
    return {name.replace("_orig_mod.", ""): tensor for name, tensor in found.items()}
