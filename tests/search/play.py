"""Sweeps small enough to be played through by hand, without Ray and without training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from optuna.trial import FrozenTrial
from ray.exceptions import RayTaskError
from ray.tune.search import Searcher

from search.checks.load_sweep import checked
from search.driver import experiment, launch, planning, preparing
from search.driver.faults import fault_of
from search.driver.ledger import Ledger
from search.driver.slots import Slots
from search.driver.trackers import Tracker
from search.driver.tune_adapter import StudySearcher
from search.errors import SteppeError
from search.run import storage, tables
from search.run.run_folder import SWEEP as SWEEP_FILE
from search.run.run_folder import RunFolder
from search.space.ranges import Value
from search.study.plan import StudyPlan, TrialSpec, plans
from search.study.resolved_sweep import as_yaml
from search.sweep.schema import Sweep
from search.worker import trial
from search.worker.trial_rows import Progress, trial_row
from training import timing
from training.timing import Timing

SWEEP: dict[str, Any] = {
    "name": "played",
    "dataset": {"name": "RotatedDigits"},
    "model": {"name": "mlp"},
    "algorithms": ["SAGM"],
    "held_out": ["0"],
    "seeds": [0],
    "training": {"steps": 90, "evaluate_every": 10},
    "search": {
        "trials": 4,
        "sampler": "random",
        "scheduler": "none",
        "space": {"weight_decay": 0, "dropout": 0},
    },
}


def small_sweep(**changes: Any) -> Sweep:
    """SWEEP with other values; those of `training` and `search` are changed one by one."""
    data = {**SWEEP, **changes}
    for section in ("training", "search"):
        data[section] = {**SWEEP[section], **changes.get(section, {})}
    return checked(data, "sweep.yaml")


def first_settings(sweep: Sweep, algorithm: str) -> list[dict[str, Value]]:
    """What the studies of an algorithm try first."""
    plan, *_ = (plan for plan in plans(sweep).values() if plan.study.algorithm == algorithm)
    return plan.first_settings()


def open_ledger(sweep: Sweep, folder: RunFolder) -> Ledger:
    """A ledger as a new driver opens it: all it knows comes from the folder."""
    if folder.local:
        Path(folder.root).mkdir(parents=True, exist_ok=True)
    return Ledger(plans(sweep), folder, storage.open_for_writing(folder))


def record(sweep: Sweep, folder: RunFolder) -> None:
    """What a launch writes first, for those who read the run."""
    folder.write_bytes(SWEEP_FILE, as_yaml(sweep).encode())


def said(
    step: int, value: float | None, state: str | None = None, reason: str | None = None
) -> Progress:
    """What a trial reports."""
    return Progress(step, value, step, 0.1 * step, time.time(), "here", "cpu", state, reason)


def write_row(folder: RunFolder, spec: TrialSpec, end: Progress) -> None:
    """What a worker does before its last report."""
    assert end.state is not None
    row = trial_row(spec, end, end.state, end.reason)
    tables.write_trial(folder, row, spec.plan.column_types)


def finish(
    ledger: Ledger,
    folder: RunFolder,
    spec: TrialSpec,
    value: float | None,
    state: str = "completed",
    **more: Any,
) -> None:
    """A trial comes to its end; `more`: of its last report."""
    end = replace(said(spec.plan.training.steps, value, state), **more)
    write_row(folder, spec, end)
    ledger.finish(spec, end)


def carry_out(
    ledger: Ledger, folder: RunFolder, spec: TrialSpec, curve: Callable[[int], float]
) -> int | None:
    """Plays a trial whose best value so far at each step is `curve(step)`.

    Returns the step it was pruned at, None if it came to its end.
    """
    training = spec.plan.training
    steps, every = training.steps, training.evaluate_every
    for step in [*range(every, steps, every), steps]:
        if ledger.report(spec, said(step, curve(step))):
            ledger.prune(spec)
            return step
    finish(ledger, folder, spec, curve(steps))
    return None


def quality(values: Mapping[str, Any]) -> float:
    """An objective in (0, 1) that depends on every hyperparameter."""
    total = sum(math.log10(abs(float(value)) + 1e-6) for value in values.values())
    return 0.5 + 0.5 * math.sin(total)


def play(
    sweep: Sweep, folder: RunFolder, trials: int, ledger: Ledger | None = None
) -> list[TrialSpec]:
    """Hands out that many trials, one after the other, and completes each with its quality."""
    ledger = ledger or open_ledger(sweep, folder)
    specs = []
    for _ in range(trials):
        spec = ledger.next()
        assert spec is not None
        finish(ledger, folder, spec, quality(spec.values))
        specs.append(spec)
    return specs


def play_out(
    ledger: Ledger,
    folder: RunFolder,
    value: Callable[[TrialSpec], float | None] = lambda spec: quality(spec.values),
    **end: Any,
) -> list[TrialSpec]:
    """Hands out all that there is, one trial after the other, and finishes each."""
    specs = []
    while (spec := ledger.next()) is not None:
        finish(ledger, folder, spec, value(spec), **end)
        specs.append(spec)
    return specs


def play_through_deaths(sweep: Sweep, folder: RunFolder, attempts: int) -> Ledger:
    """Completes all trials, each by a driver of its own, whatever of them die of KeyboardInterrupt.

    Returns the last ledger, which has no more; so many attempts must be enough.
    """
    for _ in range(attempts):
        try:
            ledger = open_ledger(sweep, folder)
            spec = ledger.next()
        except KeyboardInterrupt:
            continue
        if spec is None:
            return ledger
        finish(ledger, folder, spec, quality(spec.values))
    raise AssertionError(f"trials are left after {attempts} drivers")


def stored(folder: RunFolder) -> dict[str, list[FrozenTrial]]:
    """What stands in the journal, by study, read anew."""
    opened = storage.open_for_reading(folder)
    return {
        study.study_name: opened.get_all_trials(study._study_id)
        for study in opened.get_all_studies()
    }


def states(trials: Sequence[FrozenTrial]) -> list[str]:
    return [trial.state.name for trial in trials]


def rows(folder):
    frame = tables.read_trials(folder)
    return {row["trial"]: row for row in frame.to_dict("records")}


def counts(ledger):
    return {record.study.algorithm: dict(record.ended) for record in ledger.records.values()}


class OneSlot(Slots):
    """A cluster with room for one trial."""

    def __init__(self) -> None:
        super().__init__({"CPU": 1})

    def count(self, running: int = 0, left: Callable[[], int] = lambda: 0) -> int:
        return 1

    def leave_out(self, node: str, why: str) -> bool:
        raise SteppeError(why)  # there is no other


class Stopped(BaseException):
    """Ends a trial in the middle, as Ray does by ending its worker."""


@contextmanager
def without_ray() -> Iterator[None]:
    """Launches carry out their trials in this process, one after the other.

    All is as ever but Ray: the searcher hands out, judges and records, the trials train and write.
    """
    threads = torch.get_num_threads()
    try:
        with (
            patch.object(launch, "ray_cluster", lambda *given: nullcontext()),
            patch.object(experiment, "drive", _drive),
        ):
            yield
    finally:
        torch.set_num_threads(threads)  # trials set their own


def launched(sweep: Sweep, place: Path | str) -> RunFolder:
    """The run of a sweep that was carried out to its end, without Ray."""
    folder = RunFolder.create(place)
    with without_ray():
        assert launch.launch(sweep, folder)
    return folder


# A step of 10 ms and one pass; 1 ms to score an image.
TIMED = Timing(32, 0.5, 0.01, 1.0, 0.005, 0.001, False, False, 4000, 1000, None, 1.0)


@contextmanager
def without_timing() -> Iterator[None]:
    """Plans take neither steps nor first steps on the meta device; a CPU stands in for GPUs."""
    with (
        patch.object(planning, "_time", lambda plan, dataset: TIMED),
        patch.object(planning, "_workers", lambda sweep: 2),
        patch.object(preparing, "check_data", lambda sweep, plans, found: []),
        patch.object(timing, "_noise", lambda *shape: np.zeros(shape, np.uint8)),
    ):
        yield


def _drive(
    plans: Mapping[str, StudyPlan],
    folder: RunFolder,
    ledger: Ledger,
    stop: experiment.StopRequest,
    tracked: Sequence[Tracker] = (),
) -> None:
    hang_seconds = next(iter(plans.values())).search.hang_seconds
    searcher = StudySearcher(ledger, OneSlot(), stop.asked, hang_seconds)
    for name in map(str, count()):
        config = searcher.suggest(name)
        if config == Searcher.FINISHED or stop.asked.is_set():
            break
        last: dict[str, Any] = {}

        def report(said: dict[str, Any], name: str = name, last: dict[str, Any] = last) -> None:
            last |= said
            if searcher.report(name, said) or stop.asked.is_set():
                raise Stopped

        try:
            with patch.object(trial.tune, "report", report):
                experiment.run_trial(config, plans, folder)
        except Stopped:
            pass
        except Exception as error:
            searcher.faults[name] = fault_of(RayTaskError("train", "", error))
            searcher.on_trial_complete(name, error=True)
            continue
        if not stop.asked.is_set() or last.get("state"):
            searcher.on_trial_complete(name, last)
    if searcher.failure is not None:
        raise searcher.failure
