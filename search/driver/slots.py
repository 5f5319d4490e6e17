"""Where trials may run: the places on the cluster's nodes, and those that its autoscaler adds.

Ray has two autoscalers, that of `ray up` and a newer one, which Kubernetes uses by default. Neither
has a public way to ask what it does, so this reads what `ray status` reads.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]
from ray.exceptions import RpcError
from ray.experimental.internal_kv import _internal_kv_get, internal_kv_get_gcs_client
from ray.tune import PlacementGroupFactory
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from search.errors import SteppeError

log = logging.getLogger("steppe")

REFRESH_SECONDS = 10.0
GROWING_SECONDS = 2.0  # the same, while an autoscaler has been asked
# A cluster that has just started may not know of its autoscaler yet.
START_SECONDS = 15.0
# An autoscaler makes its nodes alike: when this many are unfit and no other is there, all are.
MOST_UNFIT = 3
# The most places for trials that are asked for at once. When they are there, more are.
MOST_ASKED = 64


class Slots:
    """How many trials the cluster can run at once; nodes may come and go.

    needs: what a trial occupies, in Ray's names and units (Resources.as_ray_resources). asked: the
    same by the keys of the sweep file, and run: the run's location, both for messages. shared_by:
    how many trials may share what is a GPU in `needs`.
    """

    def __init__(
        self, needs: Mapping[str, float], asked: str = "", run: str = "", shared_by: int = 1
    ) -> None:
        self._needs = dict(needs)
        self._shared_by = shared_by
        self._asked = asked
        self._run = run
        self._unfit: dict[str, str] = {}  # why a node is left out, by its id
        self._autoscaler: Autoscaler | None = None
        self._count = 0
        self.gpus = 0.0  # of the nodes that were counted
        self._expires = 0.0
        self._waits = False

    def count(self, running: int = 0, left: Callable[[], int] = lambda: 0) -> int:
        """The number of slots, looked up every few seconds.

        running: how many trials have been handed out. left: tells how many could be, if there were
        slots; an autoscaler is asked for those that are missing.

        Raises SteppeError if there is no slot and none will come. That is certain only where an
        autoscaler says so, or where all nodes are left out: else a node may be started by hand.
        """
        if time.monotonic() >= self._expires:
            known = ray.nodes()  # type: ignore[no-untyped-call]
            alive = {node["NodeID"]: node["Resources"] for node in known if node["Alive"]}
            nodes = [node for name, node in alive.items() if name not in self._unfit]
            self._count = sum(self._fit(node) for node in nodes)
            self.gpus = sum(node.get("GPU", 0.0) for node in nodes)
            if self._autoscaler is None and has_autoscaler():
                self._autoscaler = Autoscaler(self._needs)
            missing = left() - max(self._count - running, 0)
            if self._autoscaler is not None:
                self._autoscaler.ask(missing, self._where())
            growing = self._autoscaler is not None and (missing > 0 or not self._count)
            self._expires = time.monotonic() + (GROWING_SECONDS if growing else REFRESH_SECONDS)
            self._check()
        return self._count

    def wait(self) -> None:
        """Raises SteppeError if no node has a slot, and there is no autoscaler to start one."""
        deadline = time.monotonic() + START_SECONDS
        while not self.count() and self._autoscaler is None:
            if time.monotonic() >= deadline or has_autoscaler() is False:
                raise SteppeError(
                    f"no node of the cluster has {self._asked} for a trial; ask for less, "
                    "or start Ray on larger nodes"
                )
            time.sleep(1)
            self._expires = 0.0

    def request(self, gpus: float | None = None) -> PlacementGroupFactory:
        """What a trial occupies, on a node that is not left out; for Tune. gpus: None as needed."""
        needs = self._needs if gpus is None else {**self._needs, "GPU": gpus}
        return PlacementGroupFactory([needs], **self._where())

    def leave_out(self, node: str, why: str) -> bool:
        """Starts no more trials on the node with this id; False if it has been left out before."""
        new = node not in self._unfit
        self._unfit.setdefault(node, why)
        self._expires = 0.0
        return new

    def _check(self) -> None:
        if self._count:
            self._waits = False
            return
        if len(self._unfit) >= (1 if self._autoscaler is None else MOST_UNFIT):
            reasons = "; ".join(dict.fromkeys(self._unfit.values()))
            raise SteppeError(
                f"no node is left that can carry out trials: {reasons}; then continue with "
                f"`python -m search resume {self._run}`"
            )
        if self._autoscaler is None:
            return
        if self._autoscaler.never():
            raise SteppeError(
                f"no type of node that the cluster's autoscaler may start has {self._asked} for a "
                "trial; ask for less, or give it larger ones"
            )
        if not self._waits:
            print(
                f"Waiting for the cluster's autoscaler: no node has {self._asked} yet", flush=True
            )
        self._waits = True

    def _where(self) -> dict[str, Any]:
        """Which nodes will do, as arguments of `placement_group`."""
        if not self._unfit:
            return {}
        return {"bundle_label_selector": [{"ray.io/node-id": f"!in({','.join(self._unfit)})"}]}

    def _fit(self, node: dict[str, float]) -> int:
        # Fractions such as 0.1 do not divide exactly.
        needs = self._needs | {"GPU": self._needs.get("GPU", 0.0) / self._shared_by}
        return min(int(node.get(name, 0) / need + 1e-9) for name, need in needs.items() if need)


def has_autoscaler() -> bool | None:
    """Whether the cluster has an autoscaler; None if it has just started and does not know yet."""
    if _state().autoscaler_state_version:
        return True
    told = json.loads(_internal_kv_get("__autoscaling_status") or "{}").get("autoscaler_report")
    if told is None:
        return None
    # Without an autoscaler, each node is of a type of its own.
    return not all(re.fullmatch("node_[0-9a-f]+", name) for name in told["active_nodes"])


class Autoscaler:
    """What starts nodes for trials that have no place yet.

    It is asked by placement groups that wait: Ray forgets those of a driver that ends or dies, and
    the autoscaler takes nodes away that nobody needs.

    needs: what a trial occupies, in Ray's names and units.
    """

    def __init__(self, needs: Mapping[str, float]) -> None:
        self._needs = dict(needs)
        self._asked: dict[str, PlacementGroup] = {}
        node: Any = ray._private.worker._global_node
        place = Path(node.get_logs_dir_path())
        self._log = place / "monitor.log"  # on the head node only
        self._read = self._log.stat().st_size if self._log.exists() else 0

    def ask(self, places: int, where: Mapping[str, Any]) -> None:
        """Asks for that many places more than there are.

        where: which nodes will do, as arguments of `placement_group`.
        """
        states = placement_group_table() if self._asked else {}
        for name, group in list(self._asked.items()):
            # One that has found its place must not keep a trial out of it.
            if states.get(name, {}).get("state") != "PENDING":
                remove_placement_group(group)
                del self._asked[name]
        places = min(max(places, 0), MOST_ASKED)
        while len(self._asked) > places:
            remove_placement_group(self._asked.popitem()[1])
        while len(self._asked) < places:
            group = placement_group([self._needs], **where)
            self._asked[group.id.hex()] = group

    def never(self) -> bool:
        """Whether none of its types of node has what a trial needs, as far as it says so."""
        state = _state()
        refused = [
            dict(request.resources_bundle)
            for group in state.infeasible_gang_resource_requests
            for request in group.requests
        ]
        if state.pending_instances or state.pending_instance_requests:
            refused = []  # they are as many as there may be, but they will come
        if self._log.exists():  # where alone the older one says it
            with self._log.open() as log:
                log.seek(self._read)
                found = re.findall(r"No available node types can fulfill .*?(\{.*?\})", log.read())
            refused += [
                {name: float(n) for name, n in re.findall(r"'([^']+)': ([\d.e+]+)", request)}
                for request in found
            ]
        return self._needs in refused


def _state() -> Any:
    """What the newer autoscaler tells the cluster; empty under the older one."""
    reply = GetClusterStatusReply()
    client = internal_kv_get_gcs_client()  # type: ignore[no-untyped-call]
    try:
        reply.ParseFromString(client.get_cluster_status(timeout_s=10))
    except RpcError as error:  # a head that is busy must not end the sweep
        log.warning("the cluster does not say what its autoscaler does: %s", error)
    return reply.autoscaling_state
