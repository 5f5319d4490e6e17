"""Run folders with tables as a sweep leaves them, written without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from search.driver import cleanup
from search.results.loading import read_sweep
from search.run import tables
from search.run.run_folder import EVALUATIONS, SWEEP, TRIALS, RunFolder
from search.study.study import studies

HP_TYPES = {"lr": float, "rho": float, "batch_size": int}
SPACE = {"lr": {"log_uniform": [1e-5, 1e-3]}, "batch_size": {"choice": [16, 32]}}
STEPS = (0, 100, 200)

# (algorithm, held-out domain, seed, number, step) -> accuracy on source domains, held-out domain
Accuracy = Callable[[str, str, int, int, int], tuple[float, float]]


def sweep(**changes: Any) -> dict[str, Any]:
    """What the sweep.yaml of such a run says."""
    data: dict[str, Any] = {
        "name": "written",
        "dataset": {"name": "PACS"},
        "model": {"name": "resnet50", "weights": "imagenet"},
        "algorithms": ["ERM", "SAM", "SAGM"],
        "held_out": ["art_painting", "cartoon", "photo", "sketch"],
        "seeds": [0, 1, 2],
        "training": {"steps": 200, "evaluate_every": 100},
        "search": {"trials": 4},
    } | changes
    rho = {"rho": {"uniform": [0, 0.4]}}
    space = {name: SPACE | (rho if name != "ERM" else {}) for name in data["algorithms"]}
    data["search"] = {"space": space, **data["search"]}
    return data


def without_winners(notes: Sequence[str]) -> tuple[str, ...]:
    """The notes of a table that say nothing of where its winners lie."""
    return tuple(note for note in notes if not note.startswith("winners "))


def noisy(algorithm: str, held_out: str, seed: int, number: int, step: int) -> tuple[float, float]:
    """SAGM is the best and ERM the worst, by more than the noise; later steps are better."""
    key = [ord(letter) for letter in algorithm + held_out]
    noise = np.random.default_rng([*key, seed, number, step]).uniform(-0.02, 0.02, 2)
    better = {"SAM": 0.04, "SAGM": 0.08}.get(algorithm, 0.0)
    level = 0.6 + better + 0.01 * number + 0.0002 * step
    return float(level + 0.2 + noise[0]), float(level + noise[1])


def write(
    place: Path | str,
    data: dict[str, Any] | None = None,
    accuracy: Accuracy = noisy,
    trials: int = 4,
    states: Callable[[str, str, int, int], str] = lambda *study: "completed",
    unfinished: Sequence[str] = (),
) -> RunFolder:
    """A run of `trials` trials per study.

    Settings are the same in all studies of an algorithm. Source domains score alike but for the
    first, which is 0.1 worse, and as in the folds without them.
    `states`: (algorithm, held-out domain, seed, number) -> state.
    `unfinished`: algorithms whose studies have not ended.
    """
    data = data or sweep()
    folder = RunFolder(place)
    folder.write_bytes(SWEEP, yaml.safe_dump(data, sort_keys=False).encode())
    recorded = read_sweep(folder)
    for one in studies(recorded):
        study = {"sweep": recorded.name, "study": one.id, **one.columns}
        whole = one.algorithm not in unfinished
        for name, content in _files(tuple(study.items()), accuracy, trials, states, whole):
            folder.write_bytes(name, content)
    return folder


@cache
def _files(
    items: tuple[tuple[str, Any], ...],
    accuracy: Accuracy,
    trials: int,
    states: Callable[[str, str, int, int], str],
    whole: bool,
) -> list[tuple[str, bytes]]:
    """Name and content of a study's files; many tests want the same ones."""
    study, names = dict(items), []
    with TemporaryDirectory() as scratch:
        folder = RunFolder(scratch)
        for number in range(trials):
            own = (study["algorithm"], study["held_out"], study["seed"], number)
            names.append(f"{study['study']}.{number}")
            _write_trial(folder, study, names[-1], own, states(*own), accuracy)
        if whole:
            cleanup.merge(folder, study["study"], names)
        parts = [
            f"{table}/{part}" for table in (TRIALS, EVALUATIONS) for part in folder.list(table)
        ]
        return [(part, folder.read_bytes(part)) for part in parts]


def _write_trial(
    folder: RunFolder,
    study: dict[str, Any],
    trial: str,
    own: tuple[str, str, int, int],
    state: str,
    accuracy: Accuracy,
) -> None:
    number = own[-1]
    domains = [name for name in ("a", "b", "c") if name != study["held_out"]]
    rows = []
    for step in STEPS:
        source, held_out = accuracy(*own, step)
        scores = [
            (d, role, split, source - 0.1 * (d == domains[0]))
            for role, split in (("left_out", "in"), ("source", "out"))
            for d in domains
        ]
        scores += [(study["held_out"], "held_out", split, held_out) for split in ("in", "out")]
        rows += [
            {
                "step": step, "weights": "iterate", "domain": domain, "role": role,
                "fold": domain if role == "left_out" else None,
                "split": split, "accuracy": value, "loss": 1 - value,
                "count": 400 if split == "in" else 100, "seconds": step / 10,
                "passes": float(step if own[0] == "ERM" else 2 * step),
            }
            for domain, role, split, value in scores
        ]  # fmt: skip
    tables.write_evaluations(folder, study["sweep"], study["study"], trial, rows)
    row = {
        **study, "trial": trial, "number": number, "state": state,
        "reason": None if state == "completed" else "why", "steps": 200, "best_step": 200,
        "objective": accuracy(*own, 200)[0], "seconds": 20.0,
        "started": datetime(2026, 1, 1, tzinfo=UTC), "finished": datetime(2026, 1, 2, tzinfo=UTC),
        "node": "here", "device": "cpu", "hp_lr": 1e-5 * 3**number,
        "hp_batch_size": 16 + 16 * (number % 2),
        "hp_rho": None if study["algorithm"] == "ERM" else 0.05 * number,
    }  # fmt: skip
    tables.write_trial(folder, row, HP_TYPES)
