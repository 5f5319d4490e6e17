"""Ray Tune asks here whether a trial goes on; its study's pruner answers."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.searcher import StudySearcher


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
        self._searcher.errors[trial.trial_id] = reason(trial.get_error())

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        # The inherited one looks through every trial there ever was.
        live = tune_controller.get_live_trials()
        return next((trial for trial in live if trial.status == Trial.PENDING), None)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def reason(error: BaseException | None) -> str:
    """The last line of an error, which says what went wrong, without the traceback above it."""
    lines = [line.strip() for line in str(error or "").splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
