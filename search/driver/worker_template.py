"""Workers of this machine as forks of a process that has imported what they need.

Importing torch, Ray and Tune takes a worker 3 to 5 s of CPU. Here the driver forks itself once, as
the template (a fork server), when it has imported torch. Ray then starts each worker by running
this file as a script, which asks the template for a fork of itself and lends it its arguments,
environment and output. The script stays as long as the worker, and each ends with the other.
Without an answer it becomes the worker itself, as if there were no template.

The script runs before Python has looked for installed packages, so this file imports none.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

# What the script lends to its worker: standard input, output and error.
STREAMS = (0, 1, 2)
SECONDS = 60.0  # for a request to arrive; a script that is stopped must not hold up the others
HEADER = struct.Struct("I")  # the length of a request
BEGUN = b"1"


class Template:
    """The process that workers are forked from, as the driver knows it.

    command: what Ray is to run in the place of `python` (its `py_executable`).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.command = shlex.join([sys.executable, "-I", "-S", __file__, str(path)])

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Lets it import Ray now, with what Ray sets in the environment of each worker."""
        with suppress(OSError), _connected(self._path) as connection:
            _send(connection, {"environment": dict(environment)})


@contextmanager
def worker_template() -> Iterator[Template | None]:
    """Forks the template off this process, and ends it after the block.

    None if that cannot be: not on Linux, not where a standard stream is closed, and not once ray is
    imported, which then keeps the environment that it was imported with. Threads do not survive a
    fork, so call it before torch computes, CUDA is asked for its devices, or files in an object
    store are opened. Raises OSError if there is no room for a socket, or for one more process.
    """
    closed = None in (sys.stdin, sys.stdout, sys.stderr)
    if closed or not sys.platform.startswith("linux") or "ray" in sys.modules:
        yield None
        return
    folder = "/tmp" if len(os.fsencode(tempfile.gettempdir())) > 60 else None  # 107 bytes at most
    with tempfile.TemporaryDirectory(prefix="steppe-", dir=folder) as own:
        path = Path(own) / "template"
        alive, held = os.pipe()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen(128)
            sys.stdout.flush()  # else each fork would write it again
            sys.stderr.flush()
            template = os.fork()
            if template == 0:
                _serve(listening, alive)
        os.close(alive)
        try:
            yield Template(path)
        finally:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(template, signal.SIGKILL)  # it may be importing, and has nothing to lose
                os.waitpid(template, 0)
            os.close(held)


def _serve(listening: socket.socket, alive: int) -> NoReturn:
    """The template: answers requests until the driver ends it, or has itself been killed."""
    try:
        os.setsid()  # Ctrl-C is for the driver
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # workers that end leave no zombie
        kept = {*STREAMS, listening.fileno(), alive}
        for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208  (a Path opens it)
            if descriptor not in kept:  # files that the driver locks, and the other end of `alive`
                with suppress(OSError):
                    os.close(descriptor)
        imported_with: dict[str, str] = {}
        while True:
            ready, _, _ = select.select([listening.fileno(), alive], [], [])
            if alive in ready:  # the driver would have removed the socket's folder
                shutil.rmtree(Path(listening.getsockname()).parent)
                os._exit(0)
            connection, _ = listening.accept()
            with connection, suppress(OSError, ValueError):
                request, streams = _receive(connection)
                imported_with = imported_with or _import_ray(request["environment"])
                if "arguments" in request and _of_ray(request["environment"]) == imported_with:
                    _fork(connection, listening, request, streams)
                for stream in streams:
                    os.close(stream)
    finally:
        os._exit(1)


def _of_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """Names of the cluster and the job: Ray reads them when it is imported, and never again."""
    return {name: environment.get(name, "") for name in ("RAY_JOB_ID", "RAY_RAYLET_PID")}


def _import_ray(environment: Mapping[str, str]) -> dict[str, str]:
    """Imports all that a worker needs; returns what it was imported with."""
    os.environ.clear()
    os.environ.update(environment)
    import search.worker.trial  # noqa: F401  (its fork finds it imported)

    gc.collect()
    gc.freeze()  # pages that no fork's garbage collection writes to stay shared
    return _of_ray(environment)


def _fork(
    connection: socket.socket,
    listening: socket.socket,
    request: Mapping[str, Any],
    streams: list[int],
) -> None:
    """Forks a worker, which carries out Ray's own script and never returns."""
    if os.fork():
        return
    status = 1
    try:
        listening.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ray ends the group of a worker, for what it may leave behind
        for own, lent in zip(STREAMS, streams, strict=True):
            os.dup2(lent, own)
            os.close(lent)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        threading.Thread(target=_end_with, args=[connection], daemon=True).start()
        connection.sendall(BEGUN)
        sys.argv = request["arguments"]
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        # What is registered for the exit of a process is the driver's.
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _end_with(connection: socket.socket) -> None:
    """Ends this worker once the script has ended which Ray knows as the worker."""
    with suppress(OSError):
        connection.recv(1)
    os._exit(1)


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        yield connection


def _send(
    connection: socket.socket, request: Mapping[str, Any], streams: Sequence[int] = ()
) -> None:
    content = json.dumps(request).encode()
    socket.send_fds(connection, [HEADER.pack(len(content))], streams)
    connection.sendall(content)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request, and copies of the streams that were lent. Raises OSError if none arrives."""
    connection.settimeout(SECONDS)
    header, streams, _, _ = socket.recv_fds(connection, HEADER.size, len(STREAMS))
    if len(header) < HEADER.size:
        raise ConnectionAbortedError  # who asked has ended
    (length,) = HEADER.unpack(header)
    content = b""
    while len(content) < length and (more := connection.recv(length - len(content))):
        content += more
    connection.settimeout(None)  # from now on it lasts as long as the worker
    request: dict[str, Any] = json.loads(content)
    return request, streams


def _become_worker(path: str, arguments: list[str]) -> None:
    """The script: has a worker forked and ends with it, or becomes it."""
    with suppress(OSError), _connected(Path(path)) as connection:
        request = {
            "arguments": arguments,
            "environment": dict(os.environ),
            "folder": os.getcwd(),  # noqa: PTH109  (Ray's script takes a string)
        }
        _send(connection, request, STREAMS)
        # The worker is told by whoever tells this process to leave, and ends when it has saved.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if connection.recv(1) == BEGUN:
            connection.recv(1)  # returns when the worker has ended
            return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # see local_ray
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    _become_worker(sys.argv[1], sys.argv[2:])
