"""What comes of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.tuning import plain_state
from training.evaluation import Evaluation, predict
from training.trainer import Trainer

Correct = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended: its evaluations in order, and the step of the one that speaks for it.

    That is the one with the best validation, or the one that `train` was told to prefer, and with
    averaging the last, which is of the averaged weights and stands beside that of the latest ones;
    validation is its own. Held-out scores stand in it, and without averaging at the best and the
    last step too. passes: Passes.spent of its steps. state `diverged`: the loss stopped being a
    finite number; `reason` says when. weights: the model's state dict on the CPU, if asked for;
    resting: which of its tensors do not train. correct: of correct_of. With Run.retrain it is how
    the second stage ended (training.retraining), and steps are those of the first.
    """

    state: Literal["completed", "diverged"]
    reason: str
    evaluations: tuple[Evaluation, ...]
    best_step: int | None
    validation: float | None
    steps: int
    seconds: float
    passes: float
    weights: dict[str, Tensor] | None = None
    resting: frozenset[str] = frozenset()
    correct: Correct = field(default_factory=dict)


def state_of(trainer: Trainer) -> dict[str, Tensor]:
    """The state dict of the model as it is, on the CPU, without what tuning adds."""
    # torch.compile puts a name of its own before those of what it wraps.
    return {
        name.replace("_orig_mod.", ""): tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in plain_state(trainer.model).items()
    }


def correct_of(trainer: Trainer) -> Correct:
    """Whether the selected weights are right on each sample of the held-out domain.

    By domain, [samples] in the dataset's order. The averaged weights must have been loaded. Empty
    if the run does not ask for it, and for a fold, which selects no weights.
    """
    if trainer.run.predictions == "none" or trainer.run.left_out is not None:
        return {}
    if trainer.average is None and trainer.speaking is not None:
        trainer.load_tensors(trainer.speaking.tensors)
    parts = [part for part in trainer.parts if part.role == "held_out"]
    trainer.model.eval()
    with trainer.scoring():
        predicted = predict(trainer.model, parts, trainer.device)
    found = {p.domain.name: np.zeros(len(p.domain), np.bool_) for p in parts}
    for own in predicted:
        found[own.part.domain.name][own.part.indices] = own.classes == own.labels
    return found
