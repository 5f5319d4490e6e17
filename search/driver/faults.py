"""Why an attempt at a trial ended early, and whether it counts against the trial."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ray import cloudpickle
from ray._private.state import state  # Ray has no public way to ask where an actor was
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError
from ray.tune.experiment import Trial

from search.errors import SteppeError
from search.worker.node import AGAIN, NodeUnfit
from training.train import Interrupted

MAX_REASON = 400  # characters


@dataclass(frozen=True)
class Fault:
    """What ended an attempt at a trial.

    reason: one line, without a traceback. counts: whether it counts against `search.max_failures`;
    the loss of a node does not. died: only the death of the worker is known. node: the id of the
    node if that is at fault and no trial can run there. suspect: the address and the id of a node
    whose worker died before it began a trial. user_error: an error that the user must fix, as it
    would end every other trial too.
    """

    reason: str
    counts: bool = True
    died: bool = False
    node: str | None = None
    suspect: tuple[str, str] | None = None
    user_error: SteppeError | None = None


# Tune drops a trial without notice if its worker could not be reused.
LOST = Fault("its worker was lost before it began")


def fault_of(error: object, begun: bool = True) -> Fault:
    """The fault behind an error of an attempt (see `error_of`). begun: whether it had a worker."""
    if isinstance(error, RayActorError):
        return _of_worker(error, begun)
    cause = error.cause if isinstance(error, RayTaskError) else None
    if isinstance(cause, NodeUnfit) and cause.node is not None:
        return Fault(str(cause), counts=False, node=cause.node)
    if isinstance(cause, SteppeError):
        return Fault(str(cause), counts=False, user_error=cause)
    if cause is not None:
        return Fault(
            _line(f"{type(cause).__name__}: {cause}"), counts=not isinstance(cause, Interrupted)
        )
    text = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    return Fault(_line(text) or type(error).__name__)


def _of_worker(error: RayActorError, begun: bool) -> Fault:
    """The fault behind the loss of a worker."""
    if error.preempted or "node has died" in str(error):
        return Fault("its node went away", counts=False)
    if isinstance(error, ActorUnavailableError):  # often the first sign that a node is lost
        return Fault("its node could not be reached", counts=False)
    if "failed to import on the worker" in str(error):
        return _cannot_import(error)
    if not begun and error.actor_id is not None:
        where = state.actor_table(error.actor_id).get("Address", {})
        if where.get("NodeID"):
            reason = f"a worker process of node {where['IPAddress']} died before it began a trial"
            return Fault(reason, counts=False, suspect=(where["IPAddress"], where["NodeID"]))
    return Fault("its worker process died (out of memory, killed or crashed)", died=True)


def _cannot_import(error: RayActorError) -> Fault:
    """The fault of a node whose workers cannot load the trial's code, as a package is missing."""
    where = state.actor_table(error.actor_id)["Address"]
    # The first error is what was missing; those after it say what could not be loaded for it.
    trace = str(error).partition("Traceback")[2]
    found = re.search(r"^\s*(?!RuntimeError)\w+Error: .*", trace, re.MULTILINE)
    why = _line(found[0]) if found else "its imports fail"
    reason = f"node {where['IPAddress']} cannot load a trial ({why}); mend it, and {AGAIN}"
    return Fault(reason, counts=False, node=where["NodeID"])


def error_of(trial: Trial) -> object:
    """The last error of a trial: the exception, or its text if it cannot be unpickled.

    Trial.get_error would look in a folder that Tune copies its files to later.
    """
    try:
        return cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # its class exists only on the worker
        path = trial.error_file
        return Path(path).read_text() if path and Path(path).exists() else "an unknown error"


def _line(text: str) -> str:
    return " ".join(text.split())[:MAX_REASON]
