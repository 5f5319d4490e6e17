"""A node that can carry out no trial is told apart from a trial that fails.

test_autoscaler.py has one on Ray.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from unittest.mock import Mock, patch

import pytest
import torch
from ray import ActorID
from ray.exceptions import ActorDiedError, RayTaskError

from search.driver import faults, slots, tune_adapter
from search.driver.faults import fault_of
from search.driver.slots import Slots
from search.driver.tune_adapter import StudyScheduler, StudySearcher
from search.errors import SteppeError
from search.worker import node as worker_node
from search.worker.node import NodeUnfit
from tests.search.play import open_ledger, said, small_sweep, stored

# What Ray said of a worker on a node without pandas, shortened.
FAILED_IMPORT = """The actor died unexpectedly before finishing this task.
The actor is dead because its worker process has died. Traceback (most recent call last):
ray.exceptions.RaySystemError: System error: Can't import ray.tune
traceback: Traceback (most recent call last):
    raise ModuleNotFoundError("No module named 'pandas'")
ModuleNotFoundError: No module named 'pandas'
ImportError: Can't import ray.tune as some dependencies are missing.
RuntimeError: The actor with name TrialWorker failed to import on the worker. This may be because \
needed library dependencies are not installed in the worker environment:
"""


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The nodes that Ray would name; they have an autoscaler."""
    nodes: list[dict[str, object]] = []
    scaler = Mock(ask=lambda *_: None, never=lambda: False)
    monkeypatch.setattr(slots.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(slots, "has_autoscaler", lambda: True)
    monkeypatch.setattr(slots, "Autoscaler", lambda needs: scaler)
    return nodes


def died(message: str) -> ActorDiedError:
    """What Ray says of a worker that died; WHERE is what it knows of it."""
    error = ActorDiedError()
    error.error_msg, error.actor_id = message, ActorID.nil().hex()
    return error


WHERE = {"Address": {"IPAddress": "192.0.2.2", "NodeID": "a"}}


def node(name: str) -> dict[str, object]:
    return {"NodeID": name, "Alive": True, "Resources": {"CPU": 1.0}}


def test_an_autoscaled_sweep_ends_after_three_unfit_nodes(known, capsys):
    places = Slots({"CPU": 1.0}, "resources.cpu: 1", "runs/here")
    for name in "ab":
        known[:] = [node(name)]
        assert places.leave_out(name, f"node {name} is broken")
        assert places.count() == 0
    assert "resources.cpu: 1" in capsys.readouterr().out  # it waits for another node
    places.leave_out("c", "node c is broken")
    with pytest.raises(SteppeError, match="no node is left") as error:
        places.count()
    parts = ("node a is broken", "node b is broken", "node c is broken", "resume runs/here")
    assert all(part in str(error.value) for part in parts)
    known.append(node("d"))
    places._expires = 0.0
    assert places.count() == 1


def test_a_sweep_without_a_fit_node_ends_with_their_faults_and_loses_nothing(
    known, folder, monkeypatch
):
    monkeypatch.setattr(slots, "has_autoscaler", lambda: False)
    monkeypatch.setattr(worker_node.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    known += [node("a"), node("b")]
    searcher = StudySearcher(
        open_ledger(small_sweep(search={"max_failures": 0}), folder),
        Slots({"CPU": 1.0}, "resources.cpu: 1", folder.uri),
        threading.Event(),
    )
    for name in "ab":
        assert searcher.suggest(name)["number"] == 0  # the same trial, which is not at fault
        here = Mock(get_node_id=lambda name=name: name)
        monkeypatch.setattr(worker_node.ray, "get_runtime_context", lambda here=here: here)
        with pytest.raises(NodeUnfit) as unfit:
            worker_node.check_device("cuda")
        searcher.faults[name] = fault_of(RayTaskError("train", "", unfit.value))
        searcher.on_trial_complete(name, error=True)
    assert searcher.suggest("c") == "FINISHED"
    assert isinstance(searcher.failure, SteppeError)
    message = str(searcher.failure)
    assert message.startswith("no node is left")
    assert "device is 'cuda', but torch finds none" in message
    assert f"resume {folder.uri}" in message
    assert not folder.exists("trials")
    ((trial, *_),) = stored(folder).values()
    assert not trial.state.is_finished()


def test_workers_that_die_before_they_begin_are_their_nodes_fault(known, folder):
    known += [node("a"), node("b")]
    places = Slots({"CPU": 1.0})
    searcher = StudySearcher(open_ledger(small_sweep(), folder), places, threading.Event())
    scheduler = StudyScheduler(searcher)
    error = died("The actor died unexpectedly.")

    def dies(name: str) -> None:
        assert searcher.suggest(name)["number"] == 0  # the same trial, which is not at fault
        trial = Mock(trial_id=name, temporary_state=Mock(ray_actor=None))
        with (
            patch.object(faults.state, "actor_table", return_value=WHERE),
            patch.object(tune_adapter, "error_of", return_value=error),
        ):
            scheduler.on_trial_error(Mock(_trial_to_actor={trial: None}), trial)
        searcher.on_trial_complete(name, error=True)

    for name in "123":
        dies(name)
    searcher.suggest("alive")
    searcher.report("alive", {"node_ip": "192.0.2.2", **asdict(said(9, 0.5))})
    searcher.faults["alive"] = faults.Fault("gone", counts=False)
    searcher.on_trial_complete("alive", error=True)
    for name in "456":
        dies(name)
        assert not places._where()
    dies("7")
    assert "a" in str(places._where())
    assert searcher.failure is None
    assert fault_of(error).counts  # of a worker that had begun


def test_a_node_that_lacks_a_package_is_at_fault_and_not_the_trial():
    with patch.object(faults.state, "actor_table", return_value=WHERE):
        fault = fault_of(died(FAILED_IMPORT))
    assert (fault.node, fault.counts) == ("a", False)
    assert "node 192.0.2.2 cannot load a trial (ModuleNotFoundError: No mod" in fault.reason
