"""Ray on this machine for one sweep alone, in a process of its own.

It starts while the driver still imports torch and checks the data, and it ends with the driver,
however that ends. The driver ends with it too: Ray alone would wait a minute for what has died, and
then end the process without a word.

SLURM tells every process of a job to leave. Ray's own must stay until the trials have saved, so
SIGTERM is blocked in all of them, but not in the workers.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NoReturn

from search.driver.ray_environment import CHECKOUT, give_token, prepare_environment
from search.driver.worker_template import Template, worker_template
from search.errors import SteppeError
from search.screen import console

log = logging.getLogger("steppe")

# Ray's sockets lie this much deeper than its temporary folder; Unix allows 107 bytes in all.
SOCKET_DEPTH = 65
END_SECONDS = 30.0  # for Ray's processes to end; then they are killed
CHECK_SECONDS = 0.2  # between two looks at them
# The checkout is not installed, and the process begins in the driver's folder, as workers do.
START = """
import sys
sys.path.insert(0, sys.argv[1])
from search.driver.local_ray import serve
serve()
"""


class LocalRay:
    """Starts Ray when it is made, and ends it at the end of its block."""

    def __init__(self) -> None:
        prepare_environment(local=True)
        give_token()
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as Ray chooses for a cluster of its own
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed at the end of the block)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # is inherited
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(CHECKOUT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C is for the driver, which asks its trials to save
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.template: Template | None = None  # what its workers are forked from
        self._after = ExitStack()
        self._started = threading.Lock()
        self._address = ""
        self._left = False

    def wait(self) -> str:
        """Waits until it has started, and returns its address. Raises SteppeError if it cannot.

        If it dies after that, this process ends with a message and exit status 2.
        """
        self._read()
        if not self._address:
            status = self._process.wait()
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").split("\n")
            why = next(filter(str.strip, reversed(lines)), f"its process ended with {status}")
            raise SteppeError(
                f"Ray cannot start on this machine: {why.strip()}; mend that, and try again"
            )
        threading.Thread(target=self._watch, daemon=True).start()
        return self._address

    def fork_template(self) -> None:
        """Lets its workers be forks of this process as it is now; see `worker_template`."""
        with suppress(OSError):  # then they start as Ray starts them
            self.template = self._after.enter_context(worker_template())
        # The template imports Ray as soon as it knows the cluster, while this process goes on.
        threading.Thread(target=self._read, daemon=True).start()

    def leave(self) -> None:
        """Lets Ray end while this process goes on."""
        assert self._process.stdin is not None
        self._left = True
        self._process.stdin.close()

    def _read(self) -> None:
        """Waits until it has started or ended, and tells the template of it."""
        assert self._process.stdout is not None
        with self._started:
            said = [] if self._address else self._process.stdout.readline().decode().split()
            if said:
                self._address, job, raylet = said
                if self.template is not None:
                    own = {"RAY_JOB_ID": job, "RAY_RAYLET_PID": raylet}
                    self.template.prepare({**os.environ, **own})

    def _watch(self) -> None:
        """Ends this process when Ray dies, whose calls may hang then."""
        assert self._process.stdout is not None
        died = self._process.stdout.readline().decode().strip()
        if self._left:
            return
        sentence = (
            f"Ray of this machine has died ({died or 'all of its processes ended'}; was there too "
            "little memory?); nothing is lost: the same command again continues the sweep"
        )
        try:
            log.error(sentence)
            console().show_cursor()  # which a table that is drawn again hides
            print(f"error: {sentence}", file=sys.stderr, flush=True)
            sys.stdout.flush()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            os._exit(2)

    def __enter__(self) -> LocalRay:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()
        try:
            if self._address:
                self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Before Ray has started there is nothing to lose; after that, only what hangs is left.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._said.close()
            self._after.close()


@contextmanager
def starting(address: str | None) -> Iterator[LocalRay | None]:
    """Starts Ray of this machine, unless an `address` is given or this process has one of its own.

    It ends after the block.
    """
    if address is not None or "ray" in sys.modules:
        yield None
        return
    with LocalRay() as local:
        yield local


def serve() -> NoReturn:
    """Holds a Ray whose address it prints, until its standard input is closed or Ray dies."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray and its processes print is no address
    try:
        import ray

        without_helpers()
        with _short_folder() as options:
            _start(options)
            print(ray.get_runtime_context().gcs_address, *_names(), file=answer, flush=True)
            print(_first_to_die(), file=answer, flush=True)
            # A polite end takes seconds, also of what has died, and nothing is in there to lose.
            _node().kill_all_processes(check_alive=False)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")  # in one line
    os._exit(0)


def _first_to_die() -> str:
    """Waits until standard input is closed, or one of Ray's two main processes has ended."""
    own = {name: _node().all_processes[name][0].process for name in ("gcs_server", "raylet")}
    while not select.select([sys.stdin], [], [], CHECK_SECONDS)[0]:
        for name, process in own.items():
            if process.poll() is not None:
                return f"its {name} ended with status {process.returncode}"
    return ""


@contextmanager
def started_here() -> Iterator[None]:
    """Ray of this machine as a part of this process."""
    import ray

    give_token()
    with _short_folder() as options:
        _start(options)
        try:
            yield
        finally:
            ray.shutdown()


def _start(options: dict[str, Any]) -> None:
    import ray

    ray.init(
        # Without `local`, Ray would join any cluster of this machine.
        address="local",
        include_dashboard=False,
        num_cpus=own_cpus(),
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        **options,
    )


def without_helpers() -> None:
    """Lets a Ray that this process starts do without two helpers: 3 s of CPU that nobody uses.

    The autoscaler has no nodes to add here, and the monitor of logs would copy those of workers.
    """
    from ray._private import node as rays  # Ray has no public way to say so

    def say_that_no_node_will_come(node: Any) -> None:
        report = b'{"autoscaler_report": {"active_nodes": {}}}'  # as `has_autoscaler` reads it
        node.get_gcs_client().internal_kv_put(b"__autoscaling_status", report, True, None)

    node_class: Any = rays.Node
    node_class.start_monitor = say_that_no_node_will_come
    node_class.start_log_monitor = lambda node: None


def _names() -> tuple[str, int]:
    """The id of the next job, the driver's, and that of the process that starts workers."""
    from ray._private.worker import global_worker  # Ray has no public way to ask

    worker: Any = global_worker
    job = type(worker.current_job_id).from_int(worker.current_job_id.int() + 1)
    return job.hex(), _node().all_processes["raylet"][0].process.pid


def _node() -> Any:
    """The processes of the Ray that this process has started."""
    from ray._private.worker import global_worker  # Ray has no public way to ask

    return global_worker.node


def own_cpus() -> int:
    """The CPUs that this process may use, by `taskset`, cgroup or container.

    Ray counts those of the machine, or the quota of a container.
    """
    from ray._private.utils import get_num_cpus

    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(own or 1, int(get_num_cpus(override_docker_cpu_warning=True))))


@contextmanager
def _short_folder() -> Iterator[dict[str, Any]]:
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
