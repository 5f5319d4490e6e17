"""A lease on a run folder: one driver at a time."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from search.errors import SteppeError
from search.run.json_files import parse
from search.run.retries import reason
from search.run.run_folder import RunFolder

LEASE = "lease.json"
BEAT_SECONDS = 10.0
EXPIRY_SECONDS = 60.0


@dataclass(frozen=True)
class Holder:
    """The driver that holds the lease.

    born: start time of its process, in the unit of its host. beat: time of its last heartbeat, in
    seconds since the epoch. place: the boot and process namespace that `pid` belongs to; empty if
    not known.
    """

    token: str
    host: str
    pid: int
    born: float
    beat: float
    place: str = ""

    @property
    def near(self) -> bool:
        """Whether its process is visible from here. Containers may share a host's name."""
        return self.host == socket.gethostname() and self.place in ("", _place())

    @property
    def alive(self) -> bool:
        """Whether the driver may still be working.

        Its process is looked up if it is near; else only the last heartbeat is known.
        """
        if self.near:
            return _born(self.pid) == self.born
        return time.time() - self.beat < EXPIRY_SECONDS


class Lease:
    """A lease that is held inside a `with` block and renewed by a thread.

    on_loss: called if another driver takes it over. Raises SteppeError on entering if a living
    driver holds it. The lease of a dead driver is taken over.
    """

    def __init__(self, folder: RunFolder, on_loss: Callable[[], None]) -> None:
        # A late retry might overwrite the lease of another driver.
        self._folder = folder.without_retries()
        self._on_loss = on_loss
        self._token = uuid.uuid4().hex
        self._lost = False
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        try:
            holder = read(self._folder)
        except OSError as error:
            raise SteppeError(f"cannot read {self._folder.uri}/{LEASE}: {reason(error)}") from error
        if holder is not None and holder.alive:
            raise SteppeError(
                f"{self._folder.uri} is being driven by process {holder.pid} on {holder.host}"
                f"{_until(holder)}; watch it with `status`, or stop that process first"
            )
        try:
            self._write()
            # If two drivers write at once, the later write wins.
            time.sleep(0.2)
            held = self._held()
        except OSError as error:
            raise SteppeError(
                f"cannot write {self._folder.uri}/{LEASE}: {reason(error)}"
            ) from error
        if not held:
            raise SteppeError(f"another driver has just taken {self._folder.uri}")
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._released.set()
        self._thread.join()
        with suppress(OSError, SteppeError):  # a lease that cannot be deleted expires
            if self._held():
                self._folder.delete(LEASE)

    def check(self) -> None:
        """Raises SteppeError if another driver has taken the lease over."""
        if self._lost:
            raise SteppeError(
                f"another driver has taken over {self._folder.uri}, as this one showed no sign of "
                f"life for {EXPIRY_SECONDS:.0f} s; watch it with `status`"
            )

    def _renew(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            try:
                if not self._held():
                    self._lost = True
                    self._on_loss()
                    return
                self._write()
            except (OSError, SteppeError):
                continue  # the lease is valid until it expires

    def _held(self) -> bool:
        holder = read(self._folder)
        return holder is not None and holder.token == self._token

    def _write(self) -> None:
        pid = os.getpid()
        born, now = _born(pid) or 0.0, time.time()
        holder = Holder(self._token, socket.gethostname(), pid, born, now, _place())
        self._folder.write_bytes(LEASE, json.dumps(asdict(holder)).encode())


def read(folder: RunFolder) -> Holder | None:
    """The holder of the lease, alive or not; None if there is none.

    Raises SteppeError if the file is damaged.
    """
    try:
        return parse(folder.read_bytes(LEASE), Holder)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SteppeError(
            f"{folder.path(LEASE)}, which names the run's driver, cannot be read: {error}; "
            "delete it if no process drives the run"
        ) from error


def _until(holder: Holder) -> str:
    """What to add about a driver whose process cannot be looked up: when it counts as gone."""
    if holder.near:
        return ""
    left = holder.beat + EXPIRY_SECONDS - time.time()
    return f" (if it is gone, try again in {left:.0f} s)"


def _place() -> str:
    """The boot and process namespace of this process; empty if not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return ""


def _born(pid: int) -> float | None:
    """When a process of this host started; None if there is no such process.

    The unit is the host's. The number tells a process from a later one with the same id.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():  # not Linux: only its existence is known
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return 0.0
        return 0.0
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A zombie has ended, but its parent has not collected it yet.
    return None if fields[0] == "Z" else float(fields[19])
