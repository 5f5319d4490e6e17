"""A cluster without a node, whose autoscaler starts processes of this machine as its nodes.

The first of them can carry out no trial.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from unittest.mock import Mock

import pandas as pd
import pytest
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply

from benchmarks.local_cluster import Cluster, cluster
from benchmarks.processes import command, started, wait_until
from search.driver import slots
from search.errors import SteppeError
from tests.search.command import write_yaml
from tests.search.play import small_sweep

MOST_NODES = 2
# What the Python of a node runs first. Where a worker starts first, a package has another version;
# workers of other nodes start once a file is there, so that they do not do all trials alone.
UNFIT = """
import os, sys, time

node = [word for word in sys.orig_argv if word.startswith("--node-id=")]
if node and any("default_worker.py" in word for word in sys.orig_argv):
    try:
        with open({unfit!r}, "x") as file:
            file.write(node[0])
    except FileExistsError:
        pass
    with open({unfit!r}) as file:
        unfit = file.read() == node[0]
    if unfit:
        sys.path.insert(0, {packages!r})
    while not (unfit or os.path.exists({go!r})):
        time.sleep(0.05)
"""


def configuration(address: str) -> dict[str, object]:
    """The file of `ray up` for Ray's fake provider, with all that `ray up` would fill in."""
    steps = ["setup", "initialization", "head_setup", "worker_setup"]
    steps += ["head_start_ray", "worker_start_ray"]
    return {
        "cluster_name": "fake",
        "max_workers": MOST_NODES,
        "idle_timeout_minutes": 0.25,  # the sweep has ended by then
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
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file for which workers of fit nodes wait."""
    return tmp_path_factory.mktemp("go") / "go"


@pytest.fixture(scope="module")
def empty(go: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    place = tmp_path_factory.mktemp("autoscaler")
    known = place / "packages" / "numba-0.1.dist-info"
    known.mkdir(parents=True)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: numba\nVersion: 0.1\n")
    files = {"unfit": place / "unfit", "packages": known.parent, "go": go}
    first = UNFIT.format(**{name: str(path) for name, path in files.items()})
    (place / "sitecustomize.py").write_text(first)
    with cluster(place) as held:
        held.environment["PYTHONPATH"] = str(place)
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
        while not done.wait(1):
            seen.append(nodes(held))

    thread = Thread(target=count)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@pytest.mark.slow
def test_a_sweep_gets_the_nodes_it_needs_leaves_out_an_unfit_one_and_all_go_with_it(
    empty, go, tmp_path
):
    training = {"steps": 20, "evaluate_every": 10}
    sweep = small_sweep(training=training, search={"trials": MOST_NODES, "max_failures": 0})
    file = write_yaml(tmp_path / "sweep.yaml", sweep.model_dump(mode="json"))
    driver = command("launch", file, "--output", tmp_path / "run", "--address", empty.address)
    driver.environment |= empty.variables
    with counting(empty) as seen, started(driver) as process:
        before = []
        for line in process.stdout:
            before.append(line)
            if line.startswith("Left out: node "):
                break
        go.touch()
        output, errors = process.communicate(timeout=600)
        wait_until(lambda: nodes(empty) == 0, 600, "nodes without work go")
    assert (process.returncode, errors) == (0, ""), (before, output)
    assert any("no node has resources.cpu: 1 yet" in line for line in before)
    assert "numba 0.1 instead of" in before[-1]
    assert "Left out" not in output
    assert max(seen) == MOST_NODES
    # What had begun on the unfit node ran elsewhere, though no trial may fail.
    states = pd.read_parquet(tmp_path / "run" / "trials")["state"]
    assert list(states) == ["completed"] * MOST_NODES


# What Ray's older autoscaler writes into monitor.log, and writes nowhere else.
REFUSED = (
    "INFO autoscaler.py:585 -- :event_summary:Error: No available node types can fulfill resource "
    "request {}. Add suitable node types to this cluster to resolve this issue.\n"
)


def test_what_no_type_of_node_has_is_refused(tmp_path, monkeypatch):
    log, asked = tmp_path / "monitor.log", Mock()
    asked.return_value.id.hex.return_value = "asked"
    log.write_text(REFUSED.format({"CPU": 64.0}))  # of an earlier sweep
    place = Mock(get_logs_dir_path=lambda: str(tmp_path))
    monkeypatch.setattr(slots.ray._private.worker, "_global_node", place)
    monkeypatch.setattr(slots, "_state", lambda: GetClusterStatusReply().autoscaling_state)
    monkeypatch.setattr(slots, "has_autoscaler", lambda: True)
    monkeypatch.setattr(slots, "placement_group", asked)
    waits = {"asked": {"state": "PENDING"}}
    monkeypatch.setattr(slots, "placement_group_table", lambda: waits)
    monkeypatch.setattr(slots.ray, "nodes", list)
    places = slots.Slots({"CPU": 64.0}, "resources.cpu: 64")
    for others in ("", REFUSED.format({"CPU": 1.0})):
        log.write_text(log.read_text() + others)
        places._expires = 0.0
        assert places.count(left=lambda: 1) == 0
    asked.assert_called_once_with([{"CPU": 64.0}])
    log.write_text(log.read_text() + REFUSED.format({"CPU": 64.0}))
    places._expires = 0.0
    with pytest.raises(SteppeError, match="autoscaler") as error:
        places.count(left=lambda: 1)
    assert "resources.cpu: 64" in str(error.value)
