"""Ray Tune asks here whether a trial goes on; its study's pruner answers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.searcher import StudySearcher

log = logging.getLogger("steppe")

MOST_LETTERS = 400  # of a reason


class StudyScheduler(FIFOScheduler):
    """First in, first out, with the stopping left to the studies.

    Tune does not tell a searcher of the report on which a trial is stopped, so reports are
    recorded here.
    """

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        stop = self._searcher.report(trial.trial_id, result)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        error = error_of(trial)
        log.warning("attempt at a trial failed: %s", error)
        self._searcher.errors[trial.trial_id] = reason(error)
        # A worker that dies as it is handed a trial fails it twice over, and Tune gives it up while
        # it waits (pending). One that is to be tried again comes by here too (error).
        if trial.status == Trial.RUNNING:
            self._searcher.tried_out.add(trial.trial_id)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        # The inherited one looks through every trial there ever was.
        live = tune_controller.get_live_trials()
        self._searcher.drop_lost({trial.trial_id for trial in live if not trial.is_finished()})
        return next((trial for trial in live if trial.status == Trial.PENDING), None)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def error_of(trial: Trial) -> object:
    """What a trial failed with last: an exception, or where it cannot be had, its text.

    Trial.get_error looks in the folder where Tune copies its files to, often later.
    """
    try:
        return cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # of a class that only the worker has
        path = trial.error_file
        return Path(path).read_text() if path and Path(path).exists() else "an unknown error"


def reason(error: object) -> str:
    """What went wrong, in one line and without a traceback."""
    if isinstance(error, RayActorError):
        return "its worker process died (out of memory, killed, crashed, or its node went away)"
    if isinstance(error, RayTaskError) and error.cause is not None:
        text = f"{type(error.cause).__name__}: {error.cause}"
    else:
        text = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    return " ".join(text.split())[:MOST_LETTERS] or type(error).__name__
