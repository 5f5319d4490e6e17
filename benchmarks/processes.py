"""`python -m search ...` as a process, known with all that it starts by a mark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from search.driver.ray_environment import ENVIRONMENT, LOOPBACK, TOKEN_VARIABLES, UV_RUN

CHECKOUT = Path(__file__).resolve().parent.parent
MARK = "STEPPE_TEST_PROCESS"
T = TypeVar("T")


@dataclass
class Command:
    """`python -m search ...` as a process; all that it starts carries its mark."""

    arguments: list[str]
    environment: dict[str, str]

    @property
    def mark(self) -> str:
        return self.environment[MARK]

    def processes(self) -> dict[int, str]:
        """Every living process it started, itself included: id -> command line."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes():
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found[int(folder.name)] = b" ".join(words).decode()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it has just ended
        return {pid: line for pid, line in found.items() if line}  # without zombies


def command(*arguments: object) -> Command:
    """A command as a user gives it: the environment has nothing that Steppe itself sets."""
    environment = users_environment() | {MARK: uuid.uuid4().hex}
    return Command([sys.executable, "-m", "search", *map(str, arguments)], environment)


def users_environment() -> dict[str, str]:
    """This process's environment without what Steppe has set in it."""
    own = {*ENVIRONMENT, LOOPBACK, UV_RUN, *TOKEN_VARIABLES}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return kept | {"OMP_NUM_THREADS": "1"}


@contextmanager
def started(command: Command) -> Iterator[subprocess.Popen[str]]:
    """The command's process, its output in pipes; whatever is left of it is ended."""
    with subprocess.Popen(
        command.arguments,
        cwd=CHECKOUT,
        env=command.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            end_all(command)


def end_all(command: Command) -> None:
    for pid in command.processes():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_until(true: Callable[[], T], seconds: float, what: str) -> T:
    """Asks again and again until the answer is something, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)
    return found
