import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from unittest.mock import Mock

import pytest

from search.errors import SteppeError
from search.run import lease
from search.run.lease import LEASE, Holder, Lease
from search.run.run_folder import RunFolder
from tests.search.command import CHECKOUT, wait_until

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

AWAY = OSError("the store is away")

HOLD = """
import sys, time
from search.run.lease import Lease
from search.run.run_folder import RunFolder
with Lease(RunFolder(sys.argv[1]), on_loss=lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""


def never() -> None:
    raise AssertionError("the lease was lost")


def take(folder):
    """Takes the lease and gives it back."""
    with Lease(folder, never):
        assert lease.read(folder).pid == os.getpid()


def refused(folder, match):
    with pytest.raises(SteppeError, match=match):
        Lease(folder, never).__enter__()


@contextmanager
def driver(folder):
    """Another process that holds the lease."""
    command = [sys.executable, "-c", HOLD, folder.uri]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def put(folder, **changes):
    """A lease as a driver of this host and process would write it, with other values."""
    pid = os.getpid()
    born, place = lease._born(pid), lease._place()
    now = Holder("token", socket.gethostname(), pid, born, time.time(), place)
    folder.write_bytes(LEASE, json.dumps(asdict(replace(now, **changes))).encode())


def test_a_second_driver_is_refused_while_the_first_lives_and_comes_in_when_it_is_killed(folder):
    with driver(folder) as first:
        refused(folder, f"driven by process {first.pid} on {socket.gethostname()}; watch it")
        assert lease.read(folder).pid == first.pid
        first.send_signal(signal.SIGKILL)
        # Not even waited for by its parent: what is left of it is a zombie.
        wait_until(lambda: not lease.read(folder).alive, 120, "the first is dead")
        take(folder)


def test_the_same_process_cannot_drive_a_run_twice(folder):
    with Lease(folder, never):
        refused(folder, "is being driven by process")
        assert lease.read(folder).alive


def test_a_later_process_with_the_same_id_is_not_the_driver(folder):
    put(folder, born=1.0)
    take(folder)


def test_a_driver_of_another_host_holds_it_until_nothing_is_heard_of_it(folder):
    put(folder, host="elsewhere", pid=1, beat=time.time() - lease.EXPIRY_SECONDS + 5)
    refused(folder, "driven by process 1 on elsewhere")
    put(folder, host="elsewhere", pid=1, beat=time.time() - lease.EXPIRY_SECONDS - 1)
    take(folder)


@pytest.mark.parametrize("place", ["another boot pid:[1]", lease._place() + "1"])
def test_a_process_of_another_container_of_the_same_name_is_not_looked_up(folder, place):
    """It may have any number here; and whoever has its number is somebody else."""
    put(folder, place=place, pid=2**22, beat=time.time() - lease.EXPIRY_SECONDS + 30)
    refused(folder, r"\(if it is gone, try again in (29|30) s\); watch it with `status`")
    put(folder, place=place, beat=time.time() - lease.EXPIRY_SECONDS - 1)
    take(folder)


def test_a_lease_of_an_older_version_is_understood(folder):
    put(folder)
    known = json.loads(folder.read_bytes(LEASE))
    del known["place"]
    folder.write_bytes(LEASE, json.dumps(known).encode())
    refused(folder, r"on \S+; watch it")
    folder.write_bytes(LEASE, json.dumps(known | {"pid": 2**22}).encode())
    take(folder)


def test_a_process_namespace_of_its_own_is_another_place():
    own = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    asked = [sys.executable, "-c", f"from {lease.__name__} import _place; print(_place())"]
    done = subprocess.run([*own, *asked], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("needs namespaces")
    assert done.stdout.strip() not in ("", lease._place())
    assert done.stdout.split()[0] == lease._place().split()[0]  # the boot


def test_it_is_renewed_while_it_is_held(folder, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.02)
    with Lease(folder, never):
        first = lease.read(folder)
        wait_until(lambda: lease.read(folder).beat > first.beat, 120, "it beats")
        later = lease.read(folder)
    assert replace(later, beat=0) == replace(first, beat=0)


def test_a_driver_whose_lease_was_taken_notices_and_leaves_it_alone(folder, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.02)
    lost = threading.Event()
    with Lease(folder, lost.set) as held:
        held.check()
        put(folder, token="another")
        assert lost.wait(120)
        with pytest.raises(SteppeError, match=r"another driver has taken over .*; watch it"):
            held.check()
    assert lease.read(folder).token == "another"


def test_a_store_that_is_away_for_a_while_costs_no_lease(folder, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.02)
    with Lease(folder, never):
        held = folder.read_bytes(LEASE)
        with monkeypatch.context() as patch:
            away = Mock(side_effect=AWAY)
            patch.setattr(RunFolder, "write_bytes", away)
            wait_until(lambda: away.called, 120, "a beat that fails")
        folder.write_bytes(LEASE, b"{")  # and an unreadable one is nobody's
        time.sleep(0.1)
        folder.write_bytes(LEASE, held)
        known = json.loads(held)["beat"]
        wait_until(lambda: lease.read(folder).beat > known, 120, "it beats again")
    assert not folder.exists(LEASE)


def test_a_store_that_is_away_at_the_end_hides_no_other_error(folder, monkeypatch):
    held = Lease(folder, never).__enter__()
    monkeypatch.setattr(RunFolder, "read_bytes", Mock(side_effect=AWAY))
    held.__exit__(None, None, None)
    assert folder.exists(LEASE)  # it runs out


def test_a_store_that_is_away_at_the_start_is_named(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_bytes", Mock(side_effect=AWAY))
        refused(folder, r"cannot write .*lease.json: the store is away")
    monkeypatch.setattr(RunFolder, "read_bytes", Mock(side_effect=AWAY))
    refused(folder, r"cannot read .*lease.json: the store is away")


def test_it_is_released_at_the_end_also_after_an_exception(folder):
    with Lease(folder, never):
        assert folder.exists(LEASE)
    assert not folder.exists(LEASE)
    with pytest.raises(ZeroDivisionError), Lease(folder, never):
        _ = 1 / 0
    assert not folder.exists(LEASE)
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_of_two_that_write_at_once_one_has_it(folder, monkeypatch):
    """The slower one's lease stands: the faster one finds out and is refused."""
    write = Lease._write

    def overtaken(self):
        write(self)
        put(folder, token="the slower one")

    monkeypatch.setattr(Lease, "_write", overtaken)
    refused(folder, "another driver has just taken")
    assert lease.read(folder).token == "the slower one"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"token": 1}', b"\xff"])
def test_an_unreadable_lease_is_named_with_the_way_out_and_kept(folder, content):
    folder.write_bytes(LEASE, content)
    refused(folder, r"lease\.json, which names the run.s driver.*; delete it")
    assert folder.read_bytes(LEASE) == content
