"""Starts Ray without its own output, or joins a cluster."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from search.driver.local_ray import LocalRay, started_here
from search.driver.ray_environment import CHECKOUT, ENVIRONMENT, prepare_environment
from search.errors import SteppeError

# Only code is copied to the nodes of a cluster.
EXCLUDED = [".git", "runs", "data", "tests", "docs", "benchmarks", "**/__pycache__", "*.parquet"]


@contextmanager
def ray_cluster(address: str | None, local: LocalRay | None = None) -> Iterator[None]:
    """Connects to Ray inside the block: to that of this machine, or a cluster at `address`.

    local: Ray of this machine, if it is starting already. Raises SteppeError if no cluster answers
    at the address.
    """
    prepare_environment(local=address is None)
    import ray

    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if ray.is_initialized():  # the caller has joined a cluster, and leaves it itself
        yield
    elif address is not None:
        _check(address)
        with _joined(address, runtime_environment(), _no_answer):
            print(_joined_where(), flush=True)  # `auto` may find a cluster of somebody else
            yield
    elif local is None:
        with started_here():
            yield
    else:
        # Workers inherit the environment and the path of this process.
        forked = {"py_executable": local.template.command} if local.template else {}
        with _joined(local.wait(), forked, _cannot_join_own):
            yield
        local.leave()


@contextmanager
def _joined(
    address: str,
    environment: Mapping[str, Any],
    refused: Callable[[str, Exception], SteppeError],
) -> Iterator[None]:
    """Takes part in a cluster inside the block. Raises what `refused` makes of Ray's error."""
    import ray

    try:
        ray.init(
            address=address,
            runtime_env=dict(environment),
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (
        ConnectionError,
        ValueError,
        RuntimeError,
        TimeoutError,
        ray.exceptions.RayError,  # a token is missing
    ) as error:
        raise refused(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


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
    # Ray's own words for a wrong token are that it cannot connect.
    if "token" in str(error).lower() or _listens(str(error)):
        return SteppeError(
            f"the Ray cluster at --address {address} does not admit this process, which has no "
            "token or another than the cluster's; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH "
            "to the file with the cluster's token"
        )
    return SteppeError(
        f"no Ray cluster answers at --address {address}: {_line(error)}; "
        "start one with `ray start --head`, or leave --address out to run on this machine"
    )


def _cannot_join_own(address: str, error: Exception) -> SteppeError:
    return SteppeError(
        f"Ray has started on this machine, but cannot be used at {address}: {_line(error)}; "
        "mend that, and try again"
    )


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


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


def _joined_where() -> str:
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cpus, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
    where, plural = ray.get_runtime_context().gcs_address, "s" * (len(nodes) != 1)
    places = f"{len(nodes)} node{plural}, {cpus:g} CPUs, {gpus:g} GPUs"
    return f"Joined the Ray cluster at {where}: {places}"
