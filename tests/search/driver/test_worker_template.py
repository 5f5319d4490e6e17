"""Workers that are forked from a template, and Ray in a process of its own, end with the driver."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.processes import CHECKOUT, Command, command, end_all, wait_until
from search.driver import worker_template

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux only"),
]
PATIENCE = 300.0

# A driver: it prints how to start a worker, and lives until its standard input is closed.
DRIVER = """
import sys
import torch
from search.driver.worker_template import worker_template
with worker_template() as template:
    print(template.command, flush=True)
    sys.stdin.read()
"""
# What Ray's own script would be: it says what it is, and waits to be ended.
WORKER = """
import os, sys
if __name__ == "__main__":
    there = [name for name in ("torch", "ray.tune", "search.worker.trial") if name in sys.modules]
    print(os.getpid(), os.getppid(), os.getcwd(), os.environ["OWN"], *sys.argv[1:], *there)
    print("to stderr", file=sys.stderr)
    sys.stdout.flush()
    if "stay" in sys.argv:
        sys.stdin.read()
    sys.exit(3)
"""


PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


def python(code: str, *words: str, marked: Command, **streams: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", code, *words]
    return subprocess.Popen(line, cwd=CHECKOUT, env=marked.environment, **PIPES, **streams)


class Driver:
    def __init__(self, place: Path) -> None:
        self.marked = command()
        self.process = python(DRIVER, marked=self.marked)
        self.command = self.process.stdout.readline().strip()
        self.place = place
        self.script = place / "a worker.py"
        self.script.write_text(WORKER)

    def worker(self, *words: str, job: str = "01", own: str = "x") -> subprocess.Popen[str]:
        """Starts one as Ray does, by a shell."""
        names = {"RAY_JOB_ID": job, "RAY_RAYLET_PID": "1", "OWN": own}
        return subprocess.Popen(
            ["bash", "-c", f"exec {self.command} '{self.script}' {' '.join(words)}"],
            cwd=self.place,
            env=self.marked.environment | names,
            stderr=subprocess.PIPE,
            **PIPES,
        )


@pytest.fixture(scope="module")
def driver(tmp_path_factory) -> Iterator[Driver]:
    driver = Driver(tmp_path_factory.mktemp("workers"))
    yield driver
    driver.process.communicate(timeout=PATIENCE)
    end_all(driver.marked)


def said(worker: subprocess.Popen[str]) -> list[str]:
    return worker.stdout.readline().split()


def test_it_has_everything_imported_and_what_its_script_was_given(driver):
    worker = driver.worker("one", "'two words'", own="its own")
    output, errors = worker.communicate(timeout=PATIENCE)
    pid, parent, *rest = output.split()
    given = f"{driver.place} its own one two words torch ray.tune search.worker.trial"
    assert rest == given.split()
    assert int(pid) != worker.pid
    assert int(parent) in driver.marked.processes()  # the template, which is not the driver
    assert int(parent) != driver.process.pid
    assert errors == "to stderr\n"


def test_workers_run_side_by_side_and_each_ends_with_its_script(driver):
    workers = [driver.worker("stay") for _ in range(2)]
    pids = [int(said(worker)[0]) for worker in workers]
    workers[0].kill()
    wait_until(lambda: not Path(f"/proc/{pids[0]}").exists(), PATIENCE, "the worker ends")
    assert Path(f"/proc/{pids[1]}").exists()
    os.kill(pids[1], signal.SIGKILL)
    assert workers[1].wait(PATIENCE) == 0
    workers[0].communicate()
    workers[1].communicate()


def test_a_worker_of_another_job_starts_as_ever(driver):
    assert driver.worker("one").communicate(timeout=PATIENCE)[0]  # Ray is imported for job 01 now
    worker = driver.worker("one", job="02")
    output, _ = worker.communicate(timeout=PATIENCE)
    pid, parent, _, *rest = output.split()
    assert (int(pid), int(parent)) == (worker.pid, os.getpid())
    assert rest == ["x", "one"]  # nothing is imported
    assert worker.returncode == 3


def test_a_script_that_is_ended_before_it_asks_does_not_end_the_template(driver):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(shlex.split(driver.command)[-1])
    output, _ = driver.worker("one").communicate(timeout=PATIENCE)
    assert "torch" in output.split()


def test_a_worker_may_outlive_the_time_that_a_request_has():
    asking, asked = socket.socketpair()
    with asking, asked:
        worker_template._send(asking, {"folder": "/"}, worker_template.STREAMS)
        request, streams = worker_template._receive(asked)
        assert request == {"folder": "/"}
        assert asked.gettimeout() is None  # else a worker ends itself in the middle of a trial
        for stream in streams:
            os.close(stream)


def test_without_the_driver_a_worker_starts_as_ever_and_nothing_stays_behind(driver):
    """The last of this driver's tests, as it ends it."""
    driver.process.kill()
    driver.process.communicate()
    wait_until(lambda: not driver.marked.processes(), PATIENCE, "the template ends with it")
    assert not Path(shlex.split(driver.command)[-1]).parent.exists()
    output, _ = driver.worker("one").communicate(timeout=PATIENCE)
    assert output.split()[3:] == ["x", "one"]


HOLDER = """
import contextlib, sys
from search.driver.cluster import ray_cluster
from search.driver.local_ray import starting
with starting(None) as local:
    cluster = contextlib.nullcontext()
    if "wait" in sys.argv:
        local.wait()
        cluster = ray_cluster(None, local)
    with cluster:
        if "wait" in sys.argv:
            from search.driver.slots import has_autoscaler
            print("autoscaler", has_autoscaler(), flush=True)
        print("starting", flush=True)
        sys.stdin.read()
"""


@contextmanager
def held(*words: str) -> Iterator[tuple[Command, subprocess.Popen[str]]]:
    marked = command()
    holder = python(HOLDER, *words, marked=marked, stderr=subprocess.PIPE)
    try:
        yield marked, holder
        wait_until(lambda: not marked.processes(), PATIENCE, "nothing is left")
    finally:
        end_all(marked)
        holder.communicate()


def test_ray_ends_with_a_driver_that_is_killed():
    with held("wait") as (marked, holder):
        assert said(holder) == ["autoscaler", "False"]  # what no node has is refused at once
        assert any("raylet" in line for line in marked.processes().values())
        holder.kill()


def test_ray_is_not_told_to_leave_and_a_driver_ends_when_it_dies_and_says_so():
    with held("wait") as (marked, holder):
        assert said(holder) == ["autoscaler", "False"]
        own = {pid: line for pid, line in marked.processes().items() if pid != holder.pid}
        for pid in own:  # as SLURM does before a job's time is up
            os.kill(pid, signal.SIGTERM)
        assert said(holder) == ["starting"]
        (leading,) = (pid for pid, line in own.items() if "/gcs_server " in line)
        os.kill(leading, signal.SIGKILL)
        _, errors = holder.communicate(timeout=PATIENCE)
    assert holder.returncode == 2
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert "gcs_server ended with status -9" in last  # not -15
    assert "the same command again" in last


def test_ray_that_has_not_started_does_not_hold_up_a_driver_that_ends():
    with held() as (_, holder):
        assert said(holder) == ["starting"]
        holder.communicate("")
        assert holder.returncode == 0


def test_ray_that_cannot_start_says_why_in_one_line():
    marked = command()
    environment = marked.environment | {"RAY_TMPDIR": "/dev/null"}  # no folder
    line = [sys.executable, "-c", HOLDER, "wait"]
    ended = subprocess.run(line, cwd=CHECKOUT, env=environment, stderr=subprocess.PIPE, text=True)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("search.errors.SteppeError")
    assert "/dev/null" in last
    assert not marked.processes()
