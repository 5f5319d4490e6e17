"""One sweep that is stopped by SIGTERM and by Ctrl-C, and goes on after each.

At the Ctrl-C it runs as a process on a terminal, with a Ray of its own on one CPU, and has lost a
worker that was asked to leave. Sampler and scheduler do not look at results here, so the sweep can
be compared, trial by trial and bit by bit, with one that nobody disturbed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pandas as pd
import pexpect
import pytest
from optuna.trial import TrialState

from search.driver import launch as driver_launch
from search.driver.tune_adapter import StudySearcher
from search.run import lease, tables
from search.run.checkpoints import TrialCheckpoints
from search.run.run_folder import RunFolder
from search.study.plan import plans
from tests.search.command import (
    CHECKOUT,
    Command,
    command,
    end_all,
    printed,
    refused,
    steppe,
    wait_until,
    write_yaml,
)
from tests.search.play import launched, small_sweep, stored, without_ray
from training.checkpoint import from_bytes

pytestmark = pytest.mark.slow

PATIENCE = 600.0  # seconds; a busy machine takes its time
TRIALS, OF_A_STUDY = 4, 2
STEPS, EVERY = 400, 40
SWEEP: dict[str, Any] = {
    "name": "disturbed",
    "algorithms": ["ERM", "SAGM"],
    "held_out": ["75"],
    # No checkpoints but those of who is asked to stop.
    "training": {"steps": STEPS, "evaluate_every": EVERY, "checkpoint_seconds": 10_000},
    "search": {
        "trials": OF_A_STUDY,
        "space": {"lr": {"log_uniform": [3e-4, 1e-2]}, "weight_decay": 0},
    },
}


@dataclass
class Stop:
    """How a driver ended, and what was there then."""

    done: Any  # exit_code, stdout and stderr
    status: str
    ended: set[str]
    running: set[str]
    leased: bool


@dataclass
class Story:
    folder: RunFolder
    stops: dict[str, Stop] = field(default_factory=dict)
    refused: str = ""
    while_running: str = ""
    listens: list[str] = field(default_factory=list)  # addresses, as in /proc/net
    workers: int = 0  # at once, at most
    home: list[Path] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)  # steps at which who was asked to leave saved
    checkpoints: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    finished: Any = None


def trials_of(folder: RunFolder) -> tuple[set[str], set[str]]:
    """The trials in the storage that have ended, and those that are running."""
    states = {f"{s}.{t.number}": t.state for s, trials in stored(folder).items() for t in trials}
    ended = {trial for trial, state in states.items() if state.is_finished()}
    return ended, {trial for trial, state in states.items() if state == TrialState.RUNNING}


def workers(command: Command) -> list[int]:
    return [pid for pid, line in command.processes().items() if "TrialWorker" in line]


def under_way(folder: RunFolder, ended: int):
    """Whether so many trials have ended, and one is at work, evaluated since this was called."""
    since = time.time()

    def reached() -> bool:
        has_ended, running = trials_of(folder)
        new = {
            path.stem
            for path in Path(folder.path("evaluations")).glob("*.parquet")
            if path.exists() and path.stat().st_mtime > since
        }
        return len(has_ended) >= ended and bool(new & running)

    return reached


def listening(command: Command) -> list[str]:
    """Where its processes listen."""
    own: set[str] = set()
    for pid in command.processes():
        try:
            own |= {str(link.readlink()) for link in Path("/proc", str(pid), "fd").iterdir()}
        except OSError:
            continue  # it has just ended
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, here, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in own:
                found.append(here.partition(":")[0])
    return found


def saved(folder: RunFolder) -> list[int]:
    """The step of each checkpoint."""
    names = folder.list("checkpoints")
    return [from_bytes(folder.read_bytes(f"checkpoints/{name}"))["step"] for name in names]


def after(folder: RunFolder, done: Any) -> Stop:
    status = " ".join(printed("status", folder.uri).split())
    return Stop(done, status, *trials_of(folder), folder.exists(lease.LEASE))


@contextmanager
def interrupted(*given: object) -> Iterator[None]:
    """Ctrl-C while Ray starts."""
    os.kill(os.getpid(), signal.SIGINT)
    yield


@contextmanager
def started(*given: object) -> Iterator[None]:
    """Ray has set a handler of its own for SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ray ends the process"))
    yield
    signal.signal(signal.SIGTERM, before)


def terminated(self: StudySearcher, trial: str, said: dict[str, Any]) -> bool:
    """SIGTERM while a trial is at work, in the place of its report."""
    os.kill(os.getpid(), signal.SIGTERM)
    return False


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    place = tmp_path_factory.mktemp("disturbed")
    file = write_yaml(place / "sweep.yaml", small_sweep(**SWEEP).model_dump(mode="json"))
    folder = RunFolder(place / "run")
    story = Story(folder)

    with without_ray(), patch.object(driver_launch, "ray_cluster", interrupted):
        done = steppe("launch", file, "--output", folder.uri)
    story.stops["at the start"] = after(folder, done)

    with (
        without_ray(),
        patch.object(driver_launch, "ray_cluster", started),
        patch.object(StudySearcher, "report", terminated),
    ):
        done = steppe("resume", folder.uri)
    story.stops["SIGTERM"] = after(folder, done)

    resume, home = command("resume", folder.uri), place / "home"
    deep = place / ("a folder of a job" * 5)
    home.mkdir()
    deep.mkdir()
    terminal = pexpect.spawn(
        resume.arguments[0],
        resume.arguments[1:],
        cwd=str(CHECKOUT),
        env=resume.environment | {"TMPDIR": str(deep), "HOME": str(home)},
        dimensions=(40, 120),
        encoding="utf-8",
        codec_errors="replace",  # the ^C that a terminal shows may stand within a character
        timeout=PATIENCE,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    )
    try:
        wait_until(lambda: folder.exists(lease.LEASE), PATIENCE, "the run has a driver again")
        story.refused = refused("launch", file, "--output", folder.uri)
        story.while_running = printed("status", folder.uri)
        wait_until(under_way(folder, 0), PATIENCE, "a trial is at work")
        (worker,) = workers(resume)
        story.listens = listening(resume)
        os.kill(worker, signal.SIGTERM)
        story.asked = wait_until(lambda: saved(folder), PATIENCE, "its trial is saved")
        wait_until(under_way(folder, 1), PATIENCE, "trials go on without this worker")
        story.workers = len(workers(resume))
        terminal.sendintr()
        output = terminal.read()  # to its end
        terminal.wait()
        done = SimpleNamespace(exit_code=terminal.exitstatus, stdout=output, stderr="")
        story.stops["Ctrl-C"] = after(folder, done)
        wait_until(lambda: not resume.processes(), PATIENCE, "all that it started ends")
    finally:
        terminal.close(force=True)
        end_all(resume)
    story.home = list(home.rglob("*"))
    story.checkpoints = {
        spec.trial: [(step, seconds) for step, _, seconds, _ in checkpoint["evaluations"]]
        for plan in plans(small_sweep(**SWEEP)).values()
        for spec in (plan.trial(number, {}) for number in range(OF_A_STUDY))
        if (checkpoint := TrialCheckpoints(folder, spec).read()) is not None
    }

    with without_ray():  # which has shown above that it carries out what a resume continues
        done = steppe("resume", folder.uri)
    story.finished = after(folder, done)
    return story


@pytest.mark.parametrize("how", ["at the start", "SIGTERM", "Ctrl-C"])
def test_a_sweep_that_is_asked_to_stop_says_how_to_go_on(story, how):
    stop = story.stops[how]
    assert (stop.done.exit_code, stop.done.stderr) == (130, "")
    assert f"Stopped. `python -m search resume {story.folder.uri}` goes on." in stop.done.stdout
    # Nor does the worker make noise that has left.
    assert "Traceback" not in stop.done.stdout
    assert "ray" not in stop.done.stdout.lower()
    assert not stop.leased
    left, running = TRIALS - len(stop.ended), len(stop.running)
    assert (running > 0) == (how != "at the start")
    assert (
        f"nobody is at work on it: `python -m search resume {story.folder.uri}` "
        f"would continue {running} trials and start {left - running}"
    ) in stop.status


def test_on_a_terminal_there_is_one_table_that_is_drawn_again(story):
    output = story.stops["Ctrl-C"].done.stdout
    assert "best validation" in output
    assert "\x1b[" in output  # the cursor goes back up to draw over it
    assert f"{TRIALS} trials ended" in output
    assert "once the running trials have saved" in output


def test_who_is_asked_to_leave_saves_at_the_step_where_it_stands(story):
    (step,) = story.asked
    assert 0 < step < STEPS
    assert f"asked to leave at step {step}" in story.folder.read_bytes("driver.log").decode()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_cluster_of_ones_own_is_reached_by_nobody_else_and_takes_what_it_was_given(story):
    """It listens on 127.0.0.1 alone, leaves no token behind, and starts in a deep folder."""
    assert len(story.listens) >= 4
    assert set(story.listens) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert story.home == []
    assert story.workers == 1  # on one CPU


def test_a_second_driver_is_refused_while_one_is_at_work(story):
    assert "is being driven by process" in story.refused
    assert "watch it with `status`" in story.refused
    assert "driven by process" in story.while_running
    assert "last heard of" in story.while_running


def test_the_last_resume_finishes_the_sweep(story):
    done = story.finished.done
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"{TRIALS} of {TRIALS} trials ended, 0 running" in done.stdout
    assert "RotatedDigits, mlp, training-domain selection" in done.stdout
    assert "complete" in story.finished.status
    assert not story.finished.leased
    # driver.log has what the killed worker died of.
    assert {path.name for path in Path(story.folder.root).iterdir()} == {
        "sweep.yaml",
        "manifest.json",
        "trials",
        "evaluations",
        "selection.parquet",
        "optuna.journal",
        "driver.log",
        "wall_clock.json",
    }


def test_what_had_ended_before_a_stop_was_not_run_again(story):
    stops = [*story.stops.values(), story.finished]
    for before, later in pairwise(stops):
        assert before.ended <= later.ended
        assert before.running <= later.ended | later.running
    known = story.stops["Ctrl-C"].ended
    assert 0 < len(known) < TRIALS
    trials = pd.read_parquet(f"{story.folder.uri}/trials").set_index("trial")
    first = trials.loc[sorted(known), "finished"].max()
    last = trials.loc[sorted(story.finished.ended - known), "started"].max()
    assert first < last


def test_trials_went_on_from_their_checkpoints(story):
    """The seconds of each evaluation were measured once: they are those of the first attempt."""
    adopted = story.checkpoints.keys() & story.stops["Ctrl-C"].running
    assert adopted
    assert all(story.checkpoints[trial] for trial in adopted)
    evaluations = tables.read_evaluations(story.folder)
    trials = tables.read_trials(story.folder).set_index("trial")
    for trial in adopted:
        known = story.checkpoints[trial]
        own = evaluations[evaluations["trial"] == trial].drop_duplicates("step")
        seconds = dict(zip(own["step"], own["seconds"], strict=True))
        assert [(step, seconds[step]) for step, _ in known] == known
        row = trials.loc[trial]
        # It began before the driver was stopped; the time it lay still is not of its training.
        assert (row["finished"] - row["started"]).total_seconds() > row["seconds"]


def test_its_trials_equal_those_of_an_undisturbed_sweep_bit_for_bit(story, tmp_path):
    """Each is there once, and so is each of its evaluations, whatever was reported again."""
    undisturbed = launched(small_sweep(**SWEEP), tmp_path / "run")
    evaluated = ["trial", "step", "domain", "role", "split", "accuracy", "loss", "count"]
    for table, columns in (
        ("trials", ["trial", "state", "steps", "best_step", "objective", "hp_lr", "hp_dropout"]),
        ("evaluations", evaluated),
    ):
        here, there = (
            pd.read_parquet(folder.path(table))[columns].sort_values(
                "trial", kind="stable", ignore_index=True
            )
            for folder in (undisturbed, story.folder)
        )
        pd.testing.assert_frame_equal(here, there, check_exact=True)
    assert len(here) > TRIALS * (STEPS // EVERY) * 5
    for study, trials in stored(undisturbed).items():
        for one, other in zip(trials, stored(story.folder)[study], strict=True):
            assert (one.params, one.value, one.state) == (other.params, other.value, other.state)
            assert one.intermediate_values == other.intermediate_values
