"""configs/slurm.sh: what it asks of SLURM and of Ray, with SLURM's variables as recorded in jobs.

Programs of this test stand in the place of `srun` and `scontrol`, and of Ray and the driver.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.processes import CHECKOUT, wait_until

SCRIPT = CHECKOUT / "configs" / "slurm.sh"

# What slurmd 22.05 set in jobs of Debian's SLURM: in the batch script, and in a step on a node.
IN_JOB = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NUM_NODES": "2"}
IN_STEP = {"SLURM_CPUS_ON_NODE": "3", "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1"}

PROGRAMS = {
    "srun": """
        echo "srun $*" >> $LOG
        while [[ $1 == --* ]]; do shift; done
        export $IN_STEP
        exec "$@"
    """,
    "scontrol": 'echo "scontrol $*" >> $LOG',
    "python": """
        case "$*" in
        *start*--head*)
            echo "head $RAY_AUTH_TOKEN $*" >> $LOG
            mkdir -p $STEPPE_PLACE
            exec $PYTHON -c "
import os, signal, socket
server = socket.create_server(('127.0.0.1', 0))
with open(os.environ['STEPPE_PLACE'] + '/ray_current_cluster', 'w') as file:
    file.write('127.0.0.1:%d' % server.getsockname()[1])
signal.pause()" ;;
        *start*) echo "node $RAY_AUTH_TOKEN $*" >> $LOG; exec sleep 600 ;;
        *launch*)
            echo "driver $RAY_AUTH_TOKEN $*" >> $LOG
            trap 'exit 130' TERM
            until (( $(grep -c "^node" $LOG) >= SLURM_JOB_NUM_NODES - 1 )); do sleep 0.1; done
            [ -n "$ENDS" ] && exit $ENDS
            sleep 600 & wait ;;
        *) exec $PYTHON "$@" ;;
        esac
    """,
}


@dataclass
class Job:
    process: subprocess.Popen[str]
    log: Path

    def lines(self, what: str) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{what} ")]


@contextmanager
def job(place: Path, ends: int | None = None, **variables: str) -> Iterator[Job]:
    """A job that runs the script; its driver ends by itself with the status `ends`, if any."""
    programs = place / "programs"
    programs.mkdir(parents=True)
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}")
        (programs / name).chmod(0o755)
    in_step = {name: v for name, v in variables.items() if name not in IN_JOB}
    environment = {
        **os.environ,
        **IN_JOB,
        **variables,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(place),
        "LOG": str(place / "log"),
        "PYTHON": sys.executable,
        "ENDS": "" if ends is None else str(ends),
        "IN_STEP": " ".join(f"{name}={v}" for name, v in (IN_STEP | in_step).items()),
    }
    with subprocess.Popen(
        ["bash", SCRIPT, "configs/pacs.yaml", "--output", "a run"],
        env=environment,
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Job(process, place / "log")
        finally:
            # The steps, as SLURM would.
            os.killpg(process.pid, signal.SIGKILL)


def test_each_node_gives_ray_what_the_job_has_there_and_no_two_jobs_share_a_token(tmp_path):
    tokens = set()
    # A sweep that fails is not queued again either.
    for ends, memory in ((0, {"SLURM_MEM_PER_CPU": "1000"}), (2, {"SLURM_MEM_PER_GPU": "1500"})):
        given = {"SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_ID": "4712"}
        with job(tmp_path / str(ends), ends, **given, **memory) as run:
            assert run.process.wait(600) == ends
            (head,), (node,), (driver,) = map(run.lines, ("head", "node", "driver"))
        for words in (head, node):
            assert "--num-cpus=3 --num-gpus=2" in words
            assert f"--memory={3 * 1000 * 2**20}" in words
        assert "--node-ip-address=127.0.0.1" in head
        assert "--port=0" in head
        address = driver.rpartition("--address ")[2]
        assert f"--address={address}" in node
        assert "launch configs/pacs.yaml --output a run" in driver
        (token,) = {line.split()[0] for line in (head, node, driver)}
        tokens.add(token)
        assert not Path("/tmp/ray-4712").exists()
        assert not run.lines("scontrol")
    assert len(tokens) == 2


def test_outside_of_a_job_it_says_how_to_submit_it():
    own = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    done = subprocess.run(["bash", SCRIPT, "x"], env=own, capture_output=True, text=True)
    assert done.returncode == 2
    assert "sbatch" in done.stderr


def test_a_job_of_one_node_starts_no_other(tmp_path):
    with job(tmp_path, 0, SLURM_JOB_ID="4713", SLURM_JOB_NUM_NODES="1") as run:
        assert run.process.wait(600) == 0
        (head,) = run.lines("head")
    assert not run.lines("node")
    assert "--nodes=0" not in " ".join(run.lines("srun"))
    assert "--temp-dir=/tmp/ray-4713" in head
    assert "--num-gpus=0" in head
    assert "--memory" not in head


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_the_job_is_queued_again_only_when_its_time_is_up(tmp_path, number, again):
    with job(tmp_path, SLURM_JOB_ID="4715") as run:
        wait_until(lambda: run.lines("driver"), 600, "the driver starts")
        run.process.send_signal(number)
        assert run.process.wait(600) == 130
        assert run.lines("scontrol") == ["requeue 4715"] * again
