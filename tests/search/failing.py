"""Trials that go wrong in the ways that trials go wrong, by their number."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune

from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan
from search.worker import trial

REPORT = tune.report
FINE, FAILS_ONCE, DIES_AFTER_ITS_ROW, DIVERGES, TOO_BIG = range(5)

HOG: list[np.ndarray] = []


def attempts(folder: RunFolder, number: int) -> int:
    """How often the trial of that number was begun."""
    return len(list(Path(f"{folder.root}-attempts").glob(f"{number}.*")))


def run_trial(config: dict[str, Any], plans: Mapping[str, StudyPlan], folder: RunFolder) -> None:
    """What a worker runs in the place of `trial.run_trial`."""
    number = config["number"]
    first = attempts(folder, number) == 0
    place = Path(f"{folder.root}-attempts")
    place.mkdir(exist_ok=True)
    (place / f"{number}.{os.getpid()}").touch()
    if number == FAILS_ONCE and first:
        raise RuntimeError(f"the images of trial {number}\nare gone")
    if number == DIES_AFTER_ITS_ROW and first:
        trial.tune.report = _die_at_the_end
    if number == TOO_BIG:
        HOG.append(np.ones(10**9, np.uint8))
    trial.run_trial(config, plans, folder)


def hang(config: dict[str, Any], plans: Mapping[str, StudyPlan], folder: RunFolder) -> None:
    """A trial that never comes to its first evaluation."""
    trial.train = lambda *_, **__: time.sleep(3600)
    trial.run_trial(config, plans, folder)


def _die_at_the_end(progress: dict[str, Any]) -> None:
    if progress["state"] is not None:
        os._exit(1)
    REPORT(progress)
