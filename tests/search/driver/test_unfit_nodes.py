"""A node that can carry out no trial is told apart from a trial that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from ray import ActorID
from ray.exceptions import ActorDiedError

from benchmarks.local_cluster import Cluster, cluster
from benchmarks.processes import command, started
from search.driver import faults
from search.driver.faults import fault_of
from tests.search.command import write_yaml
from tests.search.play import small_sweep


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One with another version of a package, and one with a GPU that torch does not find."""
    place = tmp_path_factory.mktemp("unfit")
    known = place / "packages" / "numba-0.1.dist-info"
    known.mkdir(parents=True)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: numba\nVersion: 0.1\n")
    with cluster(place) as held:
        held.start("head", 0)
        held.environment["PYTHONPATH"] = str(known.parent)
        held.start("another version", 1)
        del held.environment["PYTHONPATH"]
        held.start("without its GPU", 1, "--num-gpus=1")
        yield held


def launch(nodes: Cluster, place: Path, **changes: object) -> tuple[int, str, str]:
    training = {"steps": 20, "evaluate_every": 10}
    search = {"trials": 3, "max_failures": 0}
    sweep = small_sweep(training=training, search=search, **changes)
    file = write_yaml(place / "sweep.yaml", sweep.model_dump(mode="json"))
    driver = command("launch", file, "--output", place / "run", "--address", nodes.address)
    driver.environment |= nodes.variables
    with started(driver) as process:
        output, errors = process.communicate(timeout=600)
    return process.returncode, output, errors


@pytest.mark.slow
def test_an_unfit_node_is_named_and_left_out_and_its_trials_run_elsewhere(nodes, tmp_path):
    code, output, errors = launch(nodes, tmp_path)
    assert (code, errors) == (0, ""), output
    (left_out,) = [line for line in output.splitlines() if line.startswith("Left out: node ")]
    assert "numba 0.1 instead of" in left_out
    trials = pd.read_parquet(tmp_path / "run" / "trials")
    assert list(trials["state"]) == ["completed"] * 3


@pytest.mark.slow
def test_a_sweep_without_a_fit_node_ends_with_their_faults_and_loses_nothing(nodes, tmp_path):
    code, output, errors = launch(nodes, tmp_path, resources={"gpu": 1})
    assert code == 2, output
    assert errors.startswith("error: no node is left")
    assert "device is 'cuda', but torch finds none" in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "run" / "trials").exists()


# What Ray said of a worker on a node without pandas, shortened.
FAILED_IMPORT = """The actor died unexpectedly before finishing this task.
\tclass_name: trial_actor.<locals>.TrialWorker
\tip: 192.0.2.2
The actor is dead because its worker process has died. Worker exits with an exit code None. \
Traceback (most recent call last):
ray.exceptions.RaySystemError: System error: Can't import ray.tune
traceback: Traceback (most recent call last):
    import pandas
    raise ModuleNotFoundError("No module named 'pandas'")
ModuleNotFoundError: No module named 'pandas'
During handling of the above exception, another exception occurred:
ImportError: Can't import ray.tune as some dependencies are missing.
RuntimeError: The actor with name TrialWorker failed to import on the worker. This may be because \
needed library dependencies are not installed in the worker environment:
ModuleNotFoundError: No module named 'pandas'
"""


def test_a_node_that_lacks_a_package_is_at_fault_and_not_the_trial():
    error = ActorDiedError()
    error.error_msg = FAILED_IMPORT
    error.actor_id = ActorID.nil().hex()
    table = {"Address": {"IPAddress": "192.0.2.2", "NodeID": "abc"}}
    with patch.object(faults.state, "actor_table", return_value=table):
        fault = fault_of(error)
    assert (fault.node, fault.counts) == ("abc", False)
    assert "node 192.0.2.2 cannot load a trial (ModuleNotFoundError: No module named 'pandas')" in (
        fault.reason
    )
