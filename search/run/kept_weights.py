"""Weights of finished trials: one trial of each study, so that the disk does not fill.

A worker writes those of its trial before the trial's row; the driver keeps the ones of the study's
best completed trial, by the rule of training-domain selection, and deletes all others.
"""

from __future__ import annotations

from collections.abc import Iterable

import safetensors.torch
from torch import Tensor

from search.run.run_folder import RunFolder

WEIGHTS = "weights"


def write_weights(folder: RunFolder, trial: str, state: dict[str, Tensor]) -> None:
    """Writes a model's state dict as safetensors."""
    folder.write_bytes(_name(trial), safetensors.torch.save(state))


def read_weights(folder: RunFolder, trial: str) -> dict[str, Tensor]:
    """The state dict of a trial. Raises FileNotFoundError if it was not kept."""
    return safetensors.torch.load(folder.read_bytes(_name(trial)))


def keep_only(folder: RunFolder, trials: Iterable[str]) -> None:
    """Deletes the weights of all other trials."""
    wanted = {_name(trial).rpartition("/")[2] for trial in trials}
    for file in folder.list(WEIGHTS):
        if file not in wanted:
            folder.delete(f"{WEIGHTS}/{file}")


def delete_weights(folder: RunFolder, trial: str) -> None:
    folder.delete(_name(trial))


def _name(trial: str) -> str:
    return f"{WEIGHTS}/{trial}.safetensors"
