"""Ray Tune's searcher and scheduler, which pass its questions on to the ledger."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Container
from dataclasses import replace
from typing import Any

from ray.tune import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.driver.faults import LOST, Fault, error_of, fault_of
from search.driver.gpu_shares import MOST_TOGETHER, GpuShares
from search.driver.ledger import Ledger
from search.driver.slots import Slots
from search.run.columns import FROZEN
from search.study.plan import TrialSpec
from search.worker.actor import GPU_SHARE, config_of
from search.worker.node import AGAIN
from search.worker.trial_rows import Progress

log = logging.getLogger("steppe")

# A node on which this many workers in a row die before they begin a trial can carry out none.
MOST_DEATHS = 4

# Ended trials that Tune may keep, should a late message of a worker still name one.
MOST_ENDED = 100
# Where Tune's controller keeps each of them, to the end of the sweep.
_KEPT_IN = ("_trials", "_live_trials", "_stopped_trials", "_failed_trials", "_trials_to_cache")


class StudySearcher(Searcher):
    """Hands out the ledger's trials. Tune gives it no metric (`metric=None`).

    An exception here would end Tune's loop and all of its trials. So the first one is kept in
    `failure`, and `stop` is set, after which no more trials are handed out. A trial is handed out
    only when `slots` has a place for it, so that its sampler knows as many results as possible; if
    nothing runs, one waits for a place.
    """

    def __init__(
        self,
        ledger: Ledger,
        slots: Slots,
        stop: threading.Event,
        hang_seconds: float | None = None,
        gpu_shares: GpuShares | None = None,
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._ledger = ledger
        self._slots = slots
        self._stop = stop
        self._hang_seconds = hang_seconds or math.inf
        self._shares = gpu_shares
        self._gpus: dict[str, float] = {}  # what each running trial has
        self._last_report: dict[str, float] = {}  # when each trial last reported
        self.specs: dict[str, TrialSpec] = {}
        self.faults: dict[str, Fault] = {}
        self.failure: Exception | None = None
        self._deaths: Counter[str] = Counter()  # before a worker's first report, by address

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        """Ignores Tune's metric, mode and config."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The config of the next trial; None if Tune is to ask again later."""
        if self._stop.is_set():
            return Searcher.FINISHED
        try:
            running = len(self.specs)
            slots = self._slots.count(running, lambda: self._ledger.left)
            if running and (running >= slots or self._gpus_are_taken()):
                return None
            spec = self._ledger.next()
        except Exception as error:
            self.fail(error)
            return Searcher.FINISHED
        if spec is None:
            # A running trial may have to be handed out again.
            return None if self.specs else Searcher.FINISHED
        self.specs[trial_id] = spec
        self._last_report[trial_id] = time.monotonic()
        if self._shares is not None:
            self._gpus[trial_id] = self._shares.of(spec, self._ledger.last_report(spec))
        return config_of(spec, self._gpus.get(trial_id))

    def _gpus_are_taken(self) -> bool:
        """Whether no trial would fit beside the running ones; one that asks for more waits."""
        if self._shares is None:
            return False
        return sum(self._gpus.values()) + 1 / MOST_TOGETHER > self._slots.gpus + 1e-9

    def request(self, config: dict[str, Any]) -> PlacementGroupFactory:
        """What the trial with this config is to occupy, and where; for Tune."""
        return self._slots.request(config.get(GPU_SHARE))

    def report(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Records a trial's report; True if the trial is to be stopped."""
        self._last_report[trial_id] = time.monotonic()
        self._deaths.pop(result.get("node_ip", ""), None)
        progress = Progress.of_result(result)
        if progress.state is not None or self.failure:
            return False
        try:
            spec = self.specs[trial_id]
            if self._shares is not None:
                self._shares.report(spec, progress)
            if not self._ledger.report(spec, progress):
                return False
            self._ledger.prune(spec)
        except Exception as error:
            self.fail(error)
            return False
        return True

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Records the end of an attempt at a trial."""
        spec = self.specs.pop(trial_id, None)
        self._gpus.pop(trial_id, None)
        silent = time.monotonic() - self._last_report.pop(trial_id, math.inf)
        fault = self._judged(self.faults.pop(trial_id, LOST), silent)
        if spec is None or not self._ledger.is_running(spec) or self.failure:
            return
        try:
            progress = None if error or not result else Progress.of_result(result)
            if progress is not None and progress.state == FROZEN:
                self._ledger.freeze(spec)
            elif progress is not None and progress.state is not None:
                self._ledger.finish(spec, progress)
            elif fault.user_error is not None:
                self.fail(fault.user_error)  # a resume continues the trial
            else:
                self._ledger.lose(spec, fault.reason, fault.counts)
                if self._shares is not None:
                    self._shares.lost(spec, fault.counts)
                if fault.node is not None and self._slots.leave_out(fault.node, fault.reason):
                    log.warning("left out: %s", fault.reason)
                    print(f"Left out: {fault.reason}", flush=True)
        except Exception as failure:
            self.fail(failure)

    def _judged(self, fault: Fault, silent: float) -> Fault:
        """A fault by what is known besides. silent: seconds without a report."""
        if fault.died and silent >= self._hang_seconds:
            limit = f"{self._hang_seconds:g} s, as search.hang_seconds allows"
            return Fault(f"no evaluation within {limit}: its worker was stopped")
        if fault.suspect is None:
            return fault
        address, node = fault.suspect
        self._deaths[address] += 1
        if self._deaths[address] < MOST_DEATHS:
            return fault
        why = f"{fault.reason}, {MOST_DEATHS} in a row; mend it, and {AGAIN}"
        return replace(fault, reason=why, node=node)

    def drop_lost(self, live: Container[str]) -> None:
        """Takes back trials that Tune dropped without notice, as when a worker was not reused.

        Each would occupy its slot forever, and without slots the sweep would stand still.
        """
        for trial_id in [trial_id for trial_id in self.specs if trial_id not in live]:
            self.on_trial_complete(trial_id, error=True)

    def fail(self, error: Exception) -> None:
        """Keeps the first failure; a later resume continues the trials still running."""
        log.error("the search stops", exc_info=error)
        self.failure = self.failure or error
        self._stop.set()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher for its own restore, which Steppe does not use.
        return {}


class StudyScheduler(FIFOScheduler):
    """Starts trials in their order, and stops those that their study's pruner stops.

    Reports are recorded here, as Tune does not pass a trial's last report to the searcher.
    """

    def __init__(self, searcher: StudySearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher
        self._live: set[Trial] = set()
        self._begun: set[Trial] = set()  # those that Tune has asked a worker for
        self._ended: deque[Trial] = deque()

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Keeps a new trial off nodes that are left out."""
        trial.update_resources(self._searcher.request(trial.config))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether a trial continues after a report."""
        stop = self._searcher.report(trial.trial_id, result)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Notes why an attempt failed; `on_trial_complete` of the searcher follows."""
        error = error_of(trial)
        log.warning("attempt at a trial failed: %s", error)
        # The worker of a trial that has begun may be gone from Tune's books when its error arrives.
        starting = trial.temporary_state.ray_actor is None
        begun = not (starting and trial in tune_controller._trial_to_actor)
        self._searcher.faults[trial.trial_id] = fault_of(error, begun)

    def at_work(self) -> bool:
        """Whether any trial has a worker."""
        return any(trial.status == Trial.RUNNING for trial in self._live)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The first pending trial, of those without a worker if there are any.

        Tune gives it the worker of a trial that has just ended. Given to one whose own worker is
        starting, that worker would end, and the next trial would start another.
        """
        # Tune's own method goes through all trials of the sweep each time.
        live = {trial for trial in tune_controller.get_live_trials() if not trial.is_finished()}
        for ended in self._live - live:
            _forget_results(ended)
            self._ended.append(ended)
        while len(self._ended) > MOST_ENDED:
            _forget(tune_controller, self._ended.popleft())
        self._live = live
        self._searcher.drop_lost({trial.trial_id for trial in live})
        pending = [trial for trial in live if trial.status == Trial.PENDING]
        new = [trial for trial in pending if trial not in self._begun]
        self._begun = set(pending)
        return next(iter([*new, *pending]), None)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _forget_results(trial: Trial) -> None:
    """Frees the statistics of an ended trial, which are 40 kB."""
    metadata = trial.run_metadata
    metadata.metric_analysis, metadata.metric_n_steps, metadata.last_result = {}, {}, {}


def _forget(tune_controller: Any, trial: Trial) -> None:
    """Frees an ended trial itself, which is 8 kB; Tune has no public way."""
    controller = getattr(tune_controller, "_tune_controller", tune_controller)
    for name in _KEPT_IN:
        kept: Any = getattr(controller, name, ())
        if trial in kept:
            kept.remove(trial)
    getattr(controller, "_trial_metadata", {}).pop(trial.trial_id, None)
