"""configs/slurm.sh in a SLURM of two nodes on this machine, each in namespaces of its own.

Only where SLURM is installed, and somebody asks for it: it makes a network bridge.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.processes import CHECKOUT, users_environment, wait_until
from tests.search.command import write_yaml
from tests.search.play import small_sweep

ASKED = "STEPPE_TEST_SLURM"
PROGRAMS = ("slurmctld", "slurmd", "munged", "ip", "unshare")
LACKING = [program for program in PROGRAMS if shutil.which(program) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ASKED not in os.environ, reason=f"{ASKED} is not set"),
    pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}"),
]

NETWORK, BRIDGE = "10.78.0", "steppe0"
CONFIGURATION = """
ClusterName=steppe
SlurmctldHost=control({network}.1)
SlurmUser=root
SlurmdUser=root
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool.%n
SlurmctldPidFile={place}/control.pid
SlurmdPidFile={place}/%n.pid
SlurmctldLogFile={place}/control.log
SlurmdLogFile={place}/%n.log
SlurmctldPort=26917
SlurmdPort=26918
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
KillWait=10
NodeName=n1 NodeAddr={network}.11 CPUs=4
NodeName=n2 NodeAddr={network}.12 CPUs=4
PartitionName=all Nodes=n1,n2 Default=YES State=UP
"""


def run(*command: object) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("slurm")
    (place / "state").mkdir()
    (place / "slurm.conf").write_text(CONFIGURATION.format(place=place, network=NETWORK))
    (place / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    with ExitStack() as ends, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(place / "slurm.conf"))

        def start(*command: object) -> None:
            process = subprocess.Popen([str(word) for word in command])
            ends.callback(process.wait)
            ends.callback(process.terminate)

        if not Path("/run/munge/munge.socket.2").exists():
            for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
                run("install", "-d", "-o", "munge", "-m", "755", folder)
            start("runuser", "-u", "munge", "--", "munged", "--foreground")
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        ends.callback(run, "ip", "link", "delete", BRIDGE)
        run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        start("unshare", "--uts", "sh", "-c", "hostname control; exec slurmctld -D")
        for number in (1, 2):
            space, node = f"steppe{number}", f"n{number}"
            run("ip", "netns", "add", space)
            ends.callback(run, "ip", "netns", "delete", space)
            link = ("ip", "link", "add", f"{space}v", "type", "veth", "peer", "name", "eth0")
            run(*link, "netns", space)
            run("ip", "link", "set", f"{space}v", "master", BRIDGE, "up")
            run("ip", "-n", space, "addr", "add", f"{NETWORK}.1{number}/24", "dev", "eth0")
            run("ip", "-n", space, "link", "set", "eth0", "up")
            run("ip", "-n", space, "link", "set", "lo", "up")
            daemon = f"hostname {node}; exec slurmd -D -N {node}"
            start("ip", "netns", "exec", space, "unshare", "--uts", "sh", "-c", daemon)
        wait_until(lambda: "2 idle" in run("sinfo", "-h", "-o", "%D %t"), 60, "its nodes are up")
        yield place


def submit(place: Path, steps: int, *options: str) -> str:
    place.mkdir()
    training = {"steps": steps, "evaluate_every": 10}
    sweep = small_sweep(training=training, search={"trials": 2})
    file = write_yaml(place / "sweep.yaml", sweep.model_dump(mode="json"))
    environment = users_environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    asked = ["sbatch", "--parsable", "--time=30", f"--output={place / 'out'}", *options]
    return subprocess.run(
        [*asked, "configs/slurm.sh", file, "--output", place / "run"],
        cwd=CHECKOUT,
        env=environment | {"SLURM_CONF": os.environ["SLURM_CONF"]},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def state(job: str) -> str:
    words = run("scontrol", "show", "job", job).split()
    return next(word for word in words if word.startswith("JobState=")).partition("=")[2]


def test_two_jobs_on_one_node_have_clusters_of_their_own_with_what_they_were_given(slurm):
    shared = ("--nodes=1", "--nodelist=n1", "--cpus-per-task=2")
    jobs = {slurm / name: submit(slurm / name, 20, *shared) for name in ("one", "other")}
    two = slurm / "two nodes"
    jobs[two] = submit(two, 20, "--nodes=2", "--cpus-per-task=1")
    ended = ("COMPLETED", "FAILED", "TIMEOUT")
    for place, job in jobs.items():
        wait_until(lambda job=job: state(job) in ended, 600, "the job ends")
        said = (place / "out").read_text()
        assert state(job) == "COMPLETED", said
        assert "2 of 2 trials ended" in said
    for place in slurm / "one", slurm / "other":
        assert "1 node, 2 CPUs" in (place / "out").read_text()


def test_a_job_whose_time_is_up_is_queued_again(slurm):
    place = slurm / "long"
    job = submit(place, 10**6, "--nodes=1", "--cpus-per-task=1")
    wait_until(lambda: list(place.glob("run/evaluations/*")), 300, "a trial is at work")
    run("scancel", "--signal=USR1", "--batch", job)
    wait_until(lambda: "Restarts=1" in run("scontrol", "show", "job", job), 300, "it is queued")
    assert "Stopped." in (place / "out").read_text()
    assert list(place.glob("run/checkpoints/*"))
    run("scancel", job)
