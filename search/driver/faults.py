"""Why an attempt at a trial ended early, and whether it counts against the trial."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ray import cloudpickle
from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError
from ray.tune.experiment import Trial

from search.errors import UserError
from training.train import Interrupted

MOST_LETTERS = 400  # of a reason


@dataclass(frozen=True)
class Fault:
    """What ended an attempt.

    reason: one line, without a traceback. counts: whether it is one of the `search.max_failures`
    that a trial may have; what was done to its node is not the trial's failure. died: nothing is
    known but that its worker did. mend: what ended it is for the user to put right, and would end
    every other trial too.
    """

    reason: str
    counts: bool = True
    died: bool = False
    mend: UserError | None = None


# As when a worker could not be reused: Tune gives such a trial up without a word.
LOST = Fault("its worker was lost before it began")


def fault_of(error: object) -> Fault:
    """What an attempt failed with, as `error_of` has it."""
    if isinstance(error, RayActorError):
        if error.preempted or "node has died" in str(error):
            return Fault("its node went away", counts=False)
        if isinstance(error, ActorUnavailableError):  # as a node's first sign of death often is
            return Fault("its node could not be reached", counts=False)
        return Fault("its worker process died (out of memory, killed or crashed)", died=True)
    cause = error.cause if isinstance(error, RayTaskError) else None
    if isinstance(cause, UserError):
        return Fault(str(cause), counts=False, mend=cause)
    if cause is not None:
        return Fault(
            _line(f"{type(cause).__name__}: {cause}"), counts=not isinstance(cause, Interrupted)
        )
    text = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    return Fault(_line(text) or type(error).__name__)


def error_of(trial: Trial) -> object:
    """What a trial failed with last: an exception, or where it cannot be had, its text.

    Trial.get_error looks in the folder where Tune copies its files to, often later.
    """
    try:
        return cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # of a class that only the worker has
        path = trial.error_file
        return Path(path).read_text() if path and Path(path).exists() else "an unknown error"


def _line(text: str) -> str:
    return " ".join(text.split())[:MOST_LETTERS]
