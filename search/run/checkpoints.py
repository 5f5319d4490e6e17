"""Checkpoints of running trials, and the weights that are kept of finished ones.

Both are named after the trial, so they do not depend on which worker carries it out. A worker
writes the weights of its trial before the trial's row. The driver keeps those of the completed
trials that `search.keep_weights` names, by the search's objective, and deletes the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable

import safetensors.torch
from torch import Tensor

from search.run.run_folder import CHECKPOINTS, WEIGHTS, RunFolder
from search.study.plan import TrialSpec
from training.checkpoint import TornCheckpoint, from_bytes, to_bytes
from training.train import Checkpoint

PLACES = ("a", "b")
SHARED = "shared"  # in the names of files of tensors that trials share; names of trials have dots


class TrialCheckpoints:
    """The two newest checkpoints of a trial; a new one replaces the older.

    So one of them is always whole, whatever happens to the newest file. notes: sentences about
    files that could not be read.
    """

    def __init__(self, folder: RunFolder, spec: TrialSpec) -> None:
        self._folder = folder
        self._names = _names(spec)
        self._newest: str | None = None
        self.notes: list[str] = []

    def read(self) -> Checkpoint | None:
        """The newest whole checkpoint; None if there is none, so that the trial starts over."""
        newest: Checkpoint | None = None
        for name in self._names:
            try:
                found = from_bytes(self._folder.read_bytes(name))
            except FileNotFoundError:
                continue
            except TornCheckpoint as error:
                self.notes.append(f"{name}: {error}")
                continue
            if "step" not in found:
                self.notes.append(f"{name}: it is no checkpoint of a trial")
                continue
            if newest is None or _progress(found) > _progress(newest):
                newest, self._newest = found, name
        if self.notes:
            how = "starts over"
            if newest is not None:
                how = f"continues from step {newest['step']} of {self._newest}"
            self.notes.append(f"the trial {how}")
        return newest

    def write(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint in place of the older one."""
        name = self._names[1] if self._newest == self._names[0] else self._names[0]
        self._folder.write_bytes(name, to_bytes(checkpoint))
        self._newest = name

    def keep_newest(self) -> None:
        """Deletes the older checkpoint: that of a trial which waits takes half the space."""
        for name in self._names:
            if self._newest is not None and name != self._newest:
                self._folder.delete(name)


def run_number(checkpoint: Checkpoint) -> int:
    """Which of its trial's runs a checkpoint is of; the folds come first."""
    return int(checkpoint.get("run", 0))


def _progress(checkpoint: Checkpoint) -> tuple[int, bool, int]:
    """The number of a checkpoint's run, whether that has started, and its step."""
    return run_number(checkpoint), not checkpoint.get("probing", False), checkpoint["step"]


def delete_checkpoints(folder: RunFolder, spec: TrialSpec) -> None:
    """Deletes both checkpoints of a trial."""
    for name in _names(spec):
        folder.delete(name)


def _names(spec: TrialSpec) -> list[str]:
    return [f"{CHECKPOINTS}/{spec.trial}.{place}.pt" for place in PLACES]


def write_weights(
    folder: RunFolder, trial: str, state: dict[str, Tensor], shared: Collection[str] = ()
) -> None:
    """Writes a model's state dict as safetensors.

    shared: names of tensors that other trials have too. They go into a file that is named after
    its content, once for all trials with the same, and the trial's file names it.
    """
    same = {name: state[name] for name in sorted(shared)}
    if not same:
        folder.write_bytes(_weights_file(trial), safetensors.torch.save(state))
        return
    content = safetensors.torch.save(same)
    name = f"{SHARED}-{hashlib.sha256(content).hexdigest()[:16]}"
    if not folder.exists(_weights_file(name)):
        folder.write_bytes(_weights_file(name), content)
    own = {name: tensor for name, tensor in state.items() if name not in same}
    folder.write_bytes(_weights_file(trial), safetensors.torch.save(own, {SHARED: name}))


def read_weights(folder: RunFolder, trial: str) -> dict[str, Tensor]:
    """Reads the state dict of a trial, with the tensors that it shares with others.

    Raises FileNotFoundError if it was not kept.
    """
    content = folder.read_bytes(_weights_file(trial))
    found = safetensors.torch.load(content)  # checks the header too
    length = int.from_bytes(content[:8], "little")
    name = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get(SHARED)
    if name is not None:
        found |= safetensors.torch.load(folder.read_bytes(_weights_file(name)))
    return found


def kept_weights(folder: RunFolder) -> list[str]:
    """The names of the trials whose weights are there."""
    files = folder.list(WEIGHTS)
    names = [f.removesuffix(".safetensors") for f in files if f.endswith(".safetensors")]
    return [name for name in names if not _is_shared(name)]


def keep_only_weights(folder: RunFolder, trials: Iterable[str]) -> None:
    """Deletes the weights of all trials but these; what they share stays while any does."""
    wanted = {_weights_file(trial).rpartition("/")[2] for trial in trials}
    for file in folder.list(WEIGHTS):
        if file not in wanted and not (wanted and _is_shared(file)):
            folder.delete(f"{WEIGHTS}/{file}")


def delete_weights(folder: RunFolder, trial: str) -> None:
    """Deletes the weights of a trial, if there are any."""
    folder.delete(_weights_file(trial))


def _is_shared(name: str) -> bool:
    return name.startswith(f"{SHARED}-") and "." not in name.removesuffix(".safetensors")


def _weights_file(trial: str) -> str:
    return f"{WEIGHTS}/{trial}.safetensors"
