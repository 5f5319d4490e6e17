"""Asks Ray's autoscaler for nodes, on clusters that have one.

Ray has two autoscalers, that of `ray up` and a newer one, which Kubernetes uses by default. Neither
has a public way to ask what it does, so this reads what `ray status` reads.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]
from ray.exceptions import RpcError
from ray.experimental.internal_kv import _internal_kv_get, internal_kv_get_gcs_client
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

log = logging.getLogger("steppe")

# The most places for trials that are asked for at once. When they are there, more are.
MOST_ASKED = 64


def present() -> bool | None:
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
