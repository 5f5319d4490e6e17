"""Starts Ray without its own output, or joins a cluster."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from search.errors import SteppeError
from search.run.manifest import CHECKOUT

# Read when ray is imported or a worker starts; a variable that the user has set is kept.
ENVIRONMENT = {
    # The old output engine can be silenced completely.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Skip every line: what a daemon says of a dead worker is in the trial's reason too.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The driver has a handler of its own.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Everything is in the storage and the tables; snapshots of Tune's state only cost time.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # The searcher itself hands out only as many trials as there are free slots.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    # With less, a reused worker that is still writing its last rows hangs the sweep.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "300",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # Tune gives its actors an environment of their own, so none takes a worker that is there.
    "RAY_prestart_worker_first_driver": "0",
}

# A cluster that only this sweep uses. Ray reads the first when it is imported: nodes then talk over
# 127.0.0.1, so nobody reaches them from another machine. The token keeps other users of this
# machine out; Ray would write one that everybody can read into the home folder.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# Ray's sockets lie this much deeper than its temporary folder; Unix allows 107 bytes in all.
SOCKET_DEPTH = 65

# Only code is copied to the nodes of a cluster.
EXCLUDED = [".git", "runs", "data", "tests", "docs", "benchmarks", "**/__pycache__", "*.parquet"]


def prepare_environment(local: bool = False) -> None:
    """Sets the variables that Ray reads. Call it before ray is imported for the first time.

    local: this process will start a cluster of its own.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if local:
        os.environ.setdefault(LOOPBACK, "0")


@contextmanager
def ray_cluster(address: str | None) -> Iterator[None]:
    """Connects to Ray inside the block: a local cluster, or an existing one at `address`.

    Raises SteppeError if no cluster answers at the address.
    """
    prepare_environment(local=address is None)
    import ray

    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():  # the caller has joined a cluster, and leaves it itself
        yield
        return
    if address is not None:
        _check(address)
    with ExitStack() as after:
        options = (
            {"address": address, "runtime_env": runtime_environment()}
            if address is not None
            else _local_options() | after.enter_context(_short_folder())
        )
        if address is None and not any(name in os.environ for name in TOKEN_VARIABLES):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        try:
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except (
            ConnectionError,
            ValueError,
            RuntimeError,
            TimeoutError,
            ray.exceptions.RayError,  # a token is missing
        ) as error:
            if address is None:
                raise
            raise _no_answer(address, error) from None
        after.callback(ray.shutdown)
        if address is not None:  # `auto` may find a cluster of somebody else
            print(_joined(), flush=True)
        yield


def _local_options() -> dict[str, Any]:
    # Workers inherit this process's environment and path; a runtime_env would only delay their
    # start by seconds. Without `local`, Ray would join any cluster of this machine.
    return {"address": "local", "include_dashboard": False, "num_cpus": own_cpus()}


def own_cpus() -> int:
    """The CPUs that this process may use, by `taskset`, cgroup or container.

    Ray counts those of the machine, or the quota of a container.
    """
    from ray._private.utils import get_num_cpus

    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(own or 1, int(get_num_cpus(override_docker_cpu_warning=True))))


@contextmanager
def _short_folder() -> Iterator[dict[str, str]]:
    """The option of `ray.init` that puts its sockets where their paths are short enough.

    Empty where the temporary folder's path is; some batch systems give each job a long one.
    """
    asked = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(asked)) + SOCKET_DEPTH <= 107:
        yield {}
        return
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as short:
        yield {"_temp_dir": short}


def runtime_environment() -> dict[str, Any]:
    """The runtime environment of workers on other nodes: this checkout, and ENVIRONMENT.

    Inside a job of `ray job submit`, what the job sets is left out, as Ray refuses it twice.
    """
    job = _job_environment()
    given = job.get("env_vars") or {}
    code: dict[str, Any] = {
        "env_vars": {name: os.environ[name] for name in ENVIRONMENT if name not in given}
    }
    if "working_dir" not in job:
        code |= {"working_dir": str(CHECKOUT), "excludes": EXCLUDED}
    return code


def in_a_copy() -> bool:
    """Whether this checkout is a job's copy, which Ray deletes when the job ends."""
    return "working_dir" in _job_environment()


def _job_environment() -> dict[str, Any]:
    """The runtime environment of the `ray job submit` that runs this, if any."""
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    return job.get("runtime_env") or {}


def _check(address: str) -> None:
    """Raises SteppeError for an address that cannot be used, where Ray would retry for minutes."""
    if address.startswith("ray://"):
        # Ray would run the driver on the cluster, away from the storage.
        raise SteppeError(
            f"--address {address} is for Ray's client, which cannot drive a sweep; run this on a "
            "node of the cluster with --address auto"
        )
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    try:
        if not host:
            raise ValueError("it is neither HOST:PORT nor auto")
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_answer(address, error) from None


def _no_answer(address: str, error: Exception) -> SteppeError:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    # Ray's own words for a wrong token are that it cannot connect.
    if "token" in str(error).lower() or _listens(str(error)):
        return SteppeError(
            f"the Ray cluster at --address {address} does not admit this process, which has no "
            "token or another than the cluster's; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH "
            "to the file with the cluster's token"
        )
    return SteppeError(
        f"no Ray cluster answers at --address {address}: {line}; "
        "start one with `ray start --head`, or leave --address out to run on this machine"
    )


def _listens(message: str) -> bool:
    """Whether a process listens at the first HOST:PORT that a message names."""
    found = re.search(r"([\w.-]+|\[[0-9a-f:]+\]):(\d{1,5})\b", message)
    if found is None:
        return False
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), timeout=5).close()
    except (OSError, OverflowError):
        return False
    return True


def _joined() -> str:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cpus, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    where, plural = ray.get_runtime_context().gcs_address, "s" * (len(nodes) != 1)
    places = f"{len(nodes)} node{plural}, {cpus:g} CPUs, {gpus:g} GPUs"
    return f"Joined the Ray cluster at {where}: {places}"
