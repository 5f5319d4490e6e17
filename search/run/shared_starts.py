"""Starts of a run's trials by linear probing, so that each is trained once.

A start depends on the dataset, the model, the domains that are not trained on and the seed, and
not on the algorithm or the hyperparameters: all trials of such studies share it. Workers that need
it at the same time each train it, with the same numbers, and use the one that was written first;
to wait for each other would not be sooner. Starts stay in the run for `rerun` and `export`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

from search.run.run_folder import STARTS, RunFolder
from training.checkpoint import TornCheckpoint, from_bytes, to_bytes
from training.run import Run
from training.start import Start, probe_of


def read_start(folder: RunFolder, run: Run) -> tuple[str, Start] | None:
    """The trial that trained the start of a training run, and the start; None if there is none."""
    if run.start == "model":
        return None
    try:
        found = from_bytes(folder.read_bytes(_name(run)))
        return found["trial"], Start(found["tensors"], found["seconds"], found["passes"])
    except (FileNotFoundError, TornCheckpoint, KeyError):  # a damaged one is trained again
        return None


def write_start(folder: RunFolder, run: Run, trial: str, start: Start) -> Start:
    """Writes a start that `trial` has trained; returns another trial's if that was sooner."""
    known = read_start(folder, run)
    if known is not None:
        return known[1]
    folder.write_bytes(_name(run), to_bytes({"trial": trial, **vars(start)}))
    return start


def _name(run: Run) -> str:
    """By everything that the numbers depend on, as far as it is not as usual.

    What a later version adds to a run does not change it; nor does the order of the domains that
    are not trained on.
    """
    probe = probe_of(run)
    usual = {field.name: field.default for field in fields(Run)}
    values = probe.as_dict() | {"held_out": probe.unseen, "left_out": None, "root": None}
    own = {name: value for name, value in values.items() if value != usual[name]}
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:32]
    return f"{STARTS}/{digest}.pt"
