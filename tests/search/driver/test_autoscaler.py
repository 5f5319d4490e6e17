"""A cluster without a node, whose autoscaler starts processes of this machine as its nodes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pandas as pd
import pytest

from benchmarks.local_cluster import Cluster, cluster
from benchmarks.processes import command, started, wait_until
from tests.search.command import write_yaml
from tests.search.play import small_sweep

pytestmark = pytest.mark.slow

MOST_NODES = 2


def configuration(address: str) -> dict[str, object]:
    """The file of `ray up` for Ray's fake provider, with all that `ray up` would fill in."""
    steps = ["setup", "initialization", "head_setup", "worker_setup"]
    steps += ["head_start_ray", "worker_start_ray"]
    return {
        "cluster_name": "fake",
        "max_workers": MOST_NODES,
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "worker_liveness_check": False,
            "worker_rpc_drain": True,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "small": {
                "resources": {"CPU": 1, "object_store_memory": 10**8},
                "node_config": {},
                "min_workers": 0,
                "max_workers": MOST_NODES,
            },
        },
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
    } | {f"{step}_commands": [] for step in steps}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    place = tmp_path_factory.mktemp("autoscaler")
    with cluster(place) as held:
        file = place / "autoscaling.json"
        file.write_text(json.dumps(configuration(held.address)))
        held.environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        held.start("head", 0, f"--autoscaling-config={file}")
        yield held


def nodes(held: Cluster) -> int:
    """How many nodes there are besides the head."""
    lines = held.nodes["head"].processes().values()
    return sum("raylet/raylet " in line for line in lines) - 1


@contextmanager
def counting(held: Cluster) -> Iterator[list[int]]:
    """How many nodes there were, again and again."""
    seen: list[int] = []
    done = Event()

    def count() -> None:
        while not done.wait(0.5):
            seen.append(nodes(held))

    thread = Thread(target=count)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def launch(held: Cluster, place: Path, **changes: object) -> subprocess.CompletedProcess[str]:
    sweep = small_sweep(**changes)
    file = write_yaml(place / "sweep.yaml", sweep.model_dump(mode="json"))
    driver = command("launch", file, "--output", place / "run", "--address", held.address)
    driver.environment |= held.variables
    with started(driver) as process:
        output, errors = process.communicate(timeout=600)
    return subprocess.CompletedProcess(driver.arguments, process.returncode, output, errors)


def test_a_sweep_is_given_the_nodes_that_it_needs_and_they_go_with_it(empty, tmp_path):
    with counting(empty) as seen:
        done = launch(empty, tmp_path, search={"trials": 4})
        wait_until(lambda: nodes(empty) == 0, 120, "nodes without work go")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "no node has resources.cpu: 1 yet" in done.stdout
    assert max(seen) == MOST_NODES
    assert list(pd.read_parquet(tmp_path / "run" / "trials")["state"]) == ["completed"] * 4


def test_what_no_type_of_node_has_is_refused(empty, tmp_path):
    done = launch(empty, tmp_path, resources={"cpu": 64})
    assert done.returncode == 2, done.stdout
    assert "resources.cpu: 64" in done.stderr
    assert "autoscaler" in done.stderr
    assert nodes(empty) == 0
