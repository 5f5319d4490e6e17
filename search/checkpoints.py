"""Where the checkpoint of a trial lies: under (study, number), whoever carries the trial out."""

from __future__ import annotations

import logging

from search.assignment import Assignment
from search.run_folder import CHECKPOINTS, RunFolder
from training.checkpoint import TornCheckpoint, from_bytes, to_bytes
from training.train import Checkpoint

log = logging.getLogger("steppe")


def write_checkpoint(folder: RunFolder, assignment: Assignment, checkpoint: Checkpoint) -> None:
    folder.write_bytes(_name(assignment), to_bytes(checkpoint))


def read_checkpoint(folder: RunFolder, assignment: Assignment) -> Checkpoint | None:
    """The trial's checkpoint; None if there is none that can be read, and the trial starts anew."""
    try:
        return from_bytes(folder.read_bytes(_name(assignment)))
    except FileNotFoundError:
        return None
    except TornCheckpoint as error:
        log.warning("%s of %s: %s; the trial starts anew", _name(assignment), folder.uri, error)
        return None


def delete_checkpoint(folder: RunFolder, assignment: Assignment) -> None:
    folder.delete(_name(assignment))


def _name(assignment: Assignment) -> str:
    return f"{CHECKPOINTS}/{assignment.trial}.pt"
