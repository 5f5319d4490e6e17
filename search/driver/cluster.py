"""Ray, started quietly or joined."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search.errors import SteppeError
from search.run.manifest import CHECKOUT

# Read when ray is imported or a worker starts; what the user set himself stands.
ENVIRONMENT = {
    # The old engine, which can be silenced altogether.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Any line: what its daemons say of a dead worker, which is in the trial's reason too.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # The driver has a handler of its own.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The truth is in the storage and the tables; a snapshot of Tune's view only costs time.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # As many trials may wait for a worker as the searcher hands out: it keeps to the free slots.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    # With less, a reused worker that is still writing its last rows hangs the sweep.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "300",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

# What travels to the nodes of a cluster is code.
EXCLUDED = [".git", "runs", "data", "tests", "docs", "benchmarks", "**/__pycache__", "*.parquet"]


def prepare_environment() -> None:
    """To be called before ray is imported for the first time."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def ray_cluster(address: str | None, log: Path | None = None) -> Iterator[None]:
    """Ray for the time of the block: a local cluster, or with `address` an existing one.

    Raises SteppeError if the address does not answer.
    """
    prepare_environment()
    import ray

    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():  # joined by the caller, whose it stays
        yield
        return
    options: dict[str, Any]
    if address is None:
        # Its workers inherit this process's environment and path; a runtime_env would only make
        # each of them start several seconds later.
        # `local`, as Ray would else join one that somebody has started here.
        options = {"address": "local", "include_dashboard": False}
    else:
        options = {"address": address, "runtime_env": runtime_environment()}
        _check(address)
    try:
        ray.init(
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **options,
        )
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        if address is None:
            raise
        raise _no_answer(address, error) from None
    try:
        if address is not None:  # `auto` may find one that somebody else has started
            print(_joined(), flush=True)
        yield
    finally:
        ray.shutdown()


def runtime_environment() -> dict[str, Any]:
    """What workers on other nodes are given: this checkout, and the variables above.

    Inside a job of `ray job submit` what the job has given stands, as Ray takes nothing twice.
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
    """Whether this checkout is a job's copy, which Ray deletes when the job is over."""
    return "working_dir" in _job_environment()


def _job_environment() -> dict[str, Any]:
    """What `ray job submit` was given, if this is what it runs."""
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    return job.get("runtime_env") or {}


def _check(address: str) -> None:
    """Raises SteppeError for an address that cannot be used. Ray tries a dead one for minutes."""
    if address.startswith("ray://"):
        # Ray would run the search itself on the cluster, where the storage is not.
        raise SteppeError(
            f"--address {address} is for Ray's client, which cannot drive a sweep; run this on a "
            "node of the cluster with --address auto"
        )
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_answer(address, error) from None


def _no_answer(address: str, error: Exception) -> SteppeError:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return SteppeError(
        f"no Ray cluster answers at --address {address}: {line}; "
        "start one with `ray start --head`, or leave --address out to run on this machine"
    )


def _joined() -> str:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cpus, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    where, plural = ray.get_runtime_context().gcs_address, "s" * (len(nodes) != 1)
    places = f"{len(nodes)} node{plural}, {cpus:g} CPUs, {gpus:g} GPUs"
    return f"Joined the Ray cluster at {where}: {places}"


class Slots:
    """How many trials the cluster can run at once; looked up again as nodes come and go."""

    def __init__(self, needs: Mapping[str, float]) -> None:
        """`needs`: what a trial occupies, in Ray's names and units (Resources.as_ray_resources)."""
        self._needs = needs
        self._count = 0
        self._expires = 0.0

    def count(self) -> int:
        if time.monotonic() >= self._expires:
            import ray

            known = ray.nodes()  # type: ignore[no-untyped-call]
            nodes = [node["Resources"] for node in known if node["Alive"]]
            self._count = sum(self._fit(node) for node in nodes)
            self._expires = time.monotonic() + 10
        return self._count

    def _fit(self, node: dict[str, float]) -> int:
        # Shares such as 0.1 do not divide exactly.
        return min(int(node.get(name, 0) / need + 1e-9) for name, need in self._needs.items())
