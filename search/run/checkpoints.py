"""Where the checkpoints of a trial lie: under (study, number), whoever carries the trial out."""

from __future__ import annotations

from search.run.run_folder import CHECKPOINTS, RunFolder
from search.study.plan import TrialSpec
from training.checkpoint import TornCheckpoint, from_bytes, to_bytes
from training.train import Checkpoint

PLACES = ("a", "b")


class TrialCheckpoints:
    """The newest two checkpoints of a trial; a new one takes the place of the older.

    So there is always a whole one, whatever happens to the file that was written last.
    `notes`: sentences on what could not be read.
    """

    def __init__(self, folder: RunFolder, spec: TrialSpec) -> None:
        self._folder = folder
        self._names = _names(spec)
        self._newest: str | None = None
        self.notes: list[str] = []

    def read(self) -> Checkpoint | None:
        """The newest whole checkpoint; None if there is none, and the trial starts anew."""
        newest: Checkpoint | None = None
        for name in self._names:
            try:
                found = from_bytes(self._folder.read_bytes(name))
            except FileNotFoundError:
                continue
            except TornCheckpoint as error:
                self.notes.append(f"{name}: {error}")
                continue
            if newest is None or _place(found) > _place(newest):
                newest, self._newest = found, name
        if self.notes:
            on = "anew" if newest is None else f"from step {newest['step']}, of {self._newest}"
            self.notes.append(f"the trial goes on {on}")
        return newest

    def write(self, checkpoint: Checkpoint) -> None:
        name = self._names[1] if self._newest == self._names[0] else self._names[0]
        self._folder.write_bytes(name, to_bytes(checkpoint))
        self._newest = name


def _place(checkpoint: Checkpoint) -> tuple[int, int]:
    """How far its trial had come: the runs before this one (its folds), and the step."""
    return checkpoint.get("run", 0), checkpoint["step"]


def delete_checkpoints(folder: RunFolder, spec: TrialSpec) -> None:
    for name in _names(spec):
        folder.delete(name)


def _names(spec: TrialSpec) -> list[str]:
    return [f"{CHECKPOINTS}/{spec.trial}.{place}.pt" for place in PLACES]
