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
from types import TracebackType

from search.errors import SteppeError
from search.run.retries import reason
from search.run.run_folder import RunFolder

LEASE = "lease.json"
BEAT_SECONDS = 10.0
EXPIRY_SECONDS = 60.0


@dataclass(frozen=True)
class Holder:
    """Who drives a run. `beat`: time of the last sign of life, seconds since the epoch.

    `place`: where process ids are those of this one; empty if that is not known.
    """

    token: str
    host: str
    pid: int
    born: float
    beat: float
    place: str = ""

    @property
    def near(self) -> bool:
        """Whether its process would be seen from this one. Containers may share a host's name."""
        return self.host == socket.gethostname() and self.place in ("", _place())

    @property
    def alive(self) -> bool:
        """Whether the driver may still be at work.

        A near one's process is looked up; of another only the last sign of life is known.
        """
        if self.near:
            return _born(self.pid) == self.born
        return time.time() - self.beat < EXPIRY_SECONDS


class Lease:
    """Held inside a `with` block and renewed by a thread; `on_loss` is called if it is taken away.

    Raises SteppeError on entering if a living driver holds it. A dead driver's is taken over.
    """

    def __init__(self, folder: RunFolder, on_loss: Callable[[], None]) -> None:
        # What is tried again later might overwrite what another driver has written by then.
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
            # Of two drivers that write at once, the one whose lease stands afterwards has it.
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._released.set()
        self._thread.join()
        with suppress(OSError, SteppeError):  # if it cannot be given back, it runs out
            if self._held():
                self._folder.delete(LEASE)

    def check(self) -> None:
        """Raises SteppeError if it was taken away."""
        if self._lost:
            raise SteppeError(
                f"another driver has taken over {self._folder.uri}, as nothing was heard of this "
                f"one for {EXPIRY_SECONDS:.0f} s; watch it with `status`"
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
                continue  # the store is away for a while; the lease holds until it expires

    def _held(self) -> bool:
        holder = read(self._folder)
        return holder is not None and holder.token == self._token

    def _write(self) -> None:
        pid = os.getpid()
        born, now = _born(pid) or 0.0, time.time()
        holder = Holder(self._token, socket.gethostname(), pid, born, now, _place())
        self._folder.write_bytes(LEASE, json.dumps(asdict(holder)).encode())


def read(folder: RunFolder) -> Holder | None:
    """The holder of the lease, alive or not; None if nobody is. Raises SteppeError if damaged."""
    try:
        return Holder(**json.loads(folder.read_bytes(LEASE)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise SteppeError(
            f"{folder.path(LEASE)}, which says who drives the run, cannot be read: {error}; "
            "delete it if no process does"
        ) from error


def _until(holder: Holder) -> str:
    """When a driver that cannot be looked up counts as gone."""
    if holder.near:
        return ""
    left = holder.beat + EXPIRY_SECONDS - time.time()
    return f" (if it is gone, try again in {left:.0f} s)"


def _place() -> str:
    """The boot and the process namespace that this process lives in; empty where not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return ""


def _born(pid: int) -> float | None:
    """When a process of this host started, in a unit of its own; None if there is none.

    A number told apart from that of a later process with the same id.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():  # not Linux: only that it exists is known
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
    # A zombie has ended; only its parent has not noticed.
    return None if fields[0] == "Z" else float(fields[19])
