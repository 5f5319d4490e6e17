"""A Ray cluster of several nodes on this machine, each a tree of processes that can be killed."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import MARK, Command, end_all, users_environment, wait_until

STARTED = "Ray runtime started."  # what `ray start` says then


@dataclass
class Cluster:
    """Nodes by name, and how to join them."""

    address: str
    environment: dict[str, str]
    place: Path
    nodes: dict[str, Command] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of a driver must have to join."""
        return {k: v for k, v in self.environment.items() if k.startswith("RAY_")}

    def start(self, name: str, cpus: int, *more: str) -> Command:
        """A node of that many CPUs; the first is the head."""
        where = [f"--address={self.address}"]
        if not self.nodes:
            port = self.address.rpartition(":")[2]
            where = ["--head", f"--port={port}", "--include-dashboard=false"]
        node = Command(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
                *("--disable-usage-stats", f"--num-cpus={cpus}", "--num-gpus=0"),
                *("--node-ip-address=127.0.0.1", f"--object-store-memory={10**8}"),
                "--include-log-monitor=false",  # nobody asks for the workers' output
                *where,
                *more,
            ],
            {**self.environment, MARK: uuid.uuid4().hex},
        )
        # One that starts while the machine is busy may find itself too slow, and gives up.
        if not any(self._comes_up(name, node) for _ in range(3)):
            raise AssertionError(f"node {name} does not start: {self._log(name).read_text()}")
        self.nodes[name] = node
        return node

    def _comes_up(self, name: str, node: Command) -> bool:
        with self._log(name).open("w") as log:
            process = subprocess.Popen(
                node.arguments, env=node.environment, stdout=log, stderr=log, text=True
            )
        self._stack.callback(process.wait)
        self._stack.callback(end_all, node)
        wait_until(
            lambda: process.poll() is not None or STARTED in self._log(name).read_text(),
            120,
            f"node {name} starts",
        )
        if process.poll() is None:
            return True
        end_all(node)
        return False

    def _log(self, name: str) -> Path:
        return self.place / f"{name}.log"

    def kill(self, name: str) -> None:
        """All processes of a node at once, as when its power goes."""
        end_all(self.nodes.pop(name))

    def ask(self, name: str) -> None:
        """Asks a node to go, as a machine that shuts down does; it ends by itself."""
        lines = self.nodes.pop(name).processes()
        os.kill(next(pid for pid, line in lines.items() if "start --block" in line), signal.SIGTERM)

    def workers(self, name: str) -> list[int]:
        return [pid for pid, line in self.nodes[name].processes().items() if "TrialWorker" in line]


@contextmanager
def cluster(place: Path) -> Iterator[Cluster]:
    """A cluster without nodes; those that are started end with the block."""
    token = place / "token"
    token.write_text(secrets.token_hex(32))
    environment = users_environment() | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        # Ray would end a worker that takes longer to start.
        "RAY_worker_register_timeout_seconds": "600",
        # Five refused checks in a row tell that a node was killed; Ray's own period is 3 s.
        "RAY_health_check_period_ms": "500",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Cluster(f"127.0.0.1:{port}", environment, place)
    with made._stack:
        yield made
