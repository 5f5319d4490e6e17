"""Trials that go wrong in the ways that trials go wrong, by their number."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune

from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan
from search.worker import trial
from training.train import train

REPORT = tune.report
FINE, KILLED_ONCE, DIES_AFTER_ITS_ROW, DIVERGES, TOO_BIG = range(5)

HOG: list[np.ndarray] = []
STEPS = count()


def begun_at(folder: RunFolder, number: int) -> list[int]:
    """The step at which each attempt at the trial of that number began to train."""
    return sorted(int(file.read_text()) for file in _attempts(folder).glob(f"{number}.*"))


def run_trial(config: dict[str, Any], plans: Mapping[str, StudyPlan], folder: RunFolder) -> None:
    """What a worker runs in the place of `trial.run_trial`."""
    number = config["number"]
    earlier = len(begun_at(folder, number))

    def noted(*given: Any, **more: Any) -> Any:
        step = given[4]["step"] if given[4] else 0
        (_attempts(folder) / f"{number}.{earlier}").write_text(str(step))
        return train(*given, **more)

    trial.train = noted
    if number == KILLED_ONCE and not earlier:
        trial.preempted = _killed_at_step_25
    if number == DIES_AFTER_ITS_ROW and not earlier:
        trial.tune.report = _die_at_the_end
    if number == TOO_BIG:
        HOG.append(np.ones(10**9, np.uint8))
    trial.run_trial(config, plans, folder)


def hang(config: dict[str, Any], plans: Mapping[str, StudyPlan], folder: RunFolder) -> None:
    """A trial that never comes to its first evaluation."""
    trial.train = lambda *_, **__: time.sleep(3600)
    trial.run_trial(config, plans, folder)


def _attempts(folder: RunFolder) -> Path:
    place = Path(f"{folder.root}-attempts")
    place.mkdir(exist_ok=True)
    return place


def _killed_at_step_25() -> bool:
    """Is asked before each step; kills its process without a word, as the kernel would."""
    if next(STEPS) == 25:
        os.kill(os.getpid(), signal.SIGKILL)
    return False


def _die_at_the_end(progress: dict[str, Any]) -> None:
    if progress["state"] is not None:
        os._exit(1)
    REPORT(progress)
