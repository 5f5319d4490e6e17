"""Ray Tune asks here whether a trial goes on; its study's pruner answers."""

from __future__ import annotations

import logging
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.driver.faults import error_of, fault_of
from search.driver.tune_searcher import StudySearcher

log = logging.getLogger("steppe")


class StudyScheduler(FIFOScheduler):
    """First in, first out, with the stopping left to the studies.

    Tune does not tell a searcher of the report on which a trial is stopped, so reports are
    recorded here.
    """

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher
        self._live: set[Trial] = set()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        stop = self._searcher.report(trial.trial_id, result)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        error = error_of(trial)
        log.warning("attempt at a trial failed: %s", error)
        self._searcher.faults[trial.trial_id] = fault_of(error)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        # The inherited one looks through every trial there ever was.
        live = tune_controller.get_live_trials()
        for ended in self._live - live:
            _forget(ended)
        self._live = set(live)
        self._searcher.drop_lost({trial.trial_id for trial in live if not trial.is_finished()})
        return next((trial for trial in live if trial.status == Trial.PENDING), None)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _forget(trial: Trial) -> None:
    """Lets go of what Tune keeps of a trial that has ended: statistics of all that it reported.

    That is 40 kB, of each of the sweep's trials to the end of the sweep.
    """
    metadata = trial.run_metadata
    metadata.metric_analysis, metadata.metric_n_steps, metadata.last_result = {}, {}, {}
