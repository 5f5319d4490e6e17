"""One sweep on a cluster of several nodes, whose nodes and workers come and go."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.local_cluster import Cluster, cluster
from benchmarks.processes import command, started, wait_until
from search.run.checkpoints import TrialCheckpoints
from search.run.run_folder import RunFolder
from search.study.plan import TrialSpec
from search.study.studies import Study
from search.study.trial_attributes import STATE
from tests.search.command import write_yaml
from tests.search.play import small_sweep, stored

pytestmark = pytest.mark.slow

PATIENCE = 180.0  # seconds; a busy machine takes its time
# Enough to do until all has been done to the nodes.
TRIALS, STEPS = 8, 3000
SWEEP = small_sweep(
    algorithms=["SAGM"],
    # No checkpoints but those that a worker makes when it is asked to go.
    training={"steps": STEPS, "evaluate_every": 100, "checkpoint_seconds": 1000},
    search={"trials": TRIALS},
)
STUDY = Study("RotatedDigits", "mlp", "SAGM", "0", 0)


@dataclass
class Ran:
    folder: RunFolder
    code: int
    output: str
    errors: str
    saved: dict[str, list[int]]  # what was done to a node -> steps of the checkpoints after it

    @property
    def log(self) -> str:
        return Path(self.folder.path("driver.log")).read_text()


def saved(folder: RunFolder) -> set[tuple[int, int]]:
    """Trials that have a checkpoint, and its step."""
    found = ((n, TrialCheckpoints(folder, TrialSpec(STUDY, n, {})).read()) for n in range(TRIALS))
    return {(number, checkpoint["step"]) for number, checkpoint in found if checkpoint}


def at_work(held: Cluster, name: str, folder: RunFolder) -> int:
    """The worker of a node, once two trials are being carried out."""
    wait_until(lambda: held.workers(name), PATIENCE, f"{name} has a worker")
    since = time.time()

    def both() -> bool:
        parts = Path(folder.path("evaluations")).glob("*.parquet")
        new = [part.name for part in parts if part.stat().st_mtime > since]
        # One node alone may carry out several, one after the other.
        return sum(not folder.exists(f"trials/{name}") for name in new) == 2

    wait_until(both, PATIENCE, "two trials are evaluated")
    (worker,) = held.workers(name)
    return worker


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Ran:
    place = tmp_path_factory.mktemp("nodes")
    data = SWEEP.model_dump(mode="json", exclude_none=True)
    file = write_yaml(place / "sweep.yaml", data)
    folder, steps = RunFolder(place / "run"), {}
    with cluster(place) as held:
        held.start("head", 0)
        held.start("one", 1)
        held.start("two", 1)
        launch = command("launch", file, "--output", folder.uri, "--address", held.address)
        launch.environment |= held.variables
        with started(launch) as driver:
            os.kill(at_work(held, "one", folder), signal.SIGTERM)
            first = wait_until(lambda: saved(folder), PATIENCE, "the worker saves")
            steps["SIGTERM to a worker"] = [step for _, step in first]
            at_work(held, "two", folder)
            held.start("three", 1)
            os.kill(held.first_process("two"), signal.SIGTERM)
            later = wait_until(
                lambda: saved(folder) - first, PATIENCE, "the drained node's trial saves"
            )
            steps["SIGTERM to a node"] = [step for _, step in later]
            wait_until(lambda: not held.nodes["two"].processes(), PATIENCE, "the drained node ends")
            at_work(held, "three", folder)
            held.kill("three")
            output, errors = driver.communicate(timeout=400)
    return Ran(folder, driver.returncode, output, errors, steps)


def test_the_sweep_ends_well(ran):
    assert (ran.code, ran.errors) == (0, "")
    assert f"{TRIALS} of {TRIALS} trials ended" in ran.output
    assert "Joined the Ray cluster at " in ran.output
    assert ": 3 nodes, 2 CPUs, 0 GPUs\n" in ran.output
    trials = pd.read_parquet(ran.folder.path("trials"))
    assert list(trials["state"]) == ["completed"] * TRIALS
    assert set(trials["steps"]) == {STEPS}
    (found,) = stored(ran.folder).values()
    assert [trial.number for trial in found] == list(range(TRIALS))
    assert [trial.user_attrs[STATE] for trial in found] == ["completed"] * TRIALS


def test_a_worker_that_is_asked_to_go_saves_at_the_step_where_it_stands(ran):
    (step,) = ran.saved["SIGTERM to a worker"]
    assert 0 < step < STEPS
    assert f"asked to leave at step {step}" in ran.log


def test_a_node_that_is_asked_to_go_lets_its_trial_save(ran):
    (step,) = ran.saved["SIGTERM to a node"]
    assert 0 < step < STEPS
    assert f"asked to leave at step {step}" in ran.log


def test_a_node_that_dies_takes_nothing_with_it(ran):
    assert "actor" in ran.log.split("asked to leave at step")[-1]
    evaluations = pd.read_parquet(ran.folder.path("evaluations"))
    steps = evaluations[evaluations["role"] == "source"].groupby("trial")["step"].nunique()
    assert list(steps) == [STEPS // 100] * TRIALS


def test_the_checkout_travels_without_data_and_runs(ran):
    """Workers run what the driver sent them, from a folder of Ray's."""
    assert "_ray_pkg_" in ran.log
