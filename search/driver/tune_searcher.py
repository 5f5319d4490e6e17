"""Ray Tune asks here for trials; Optuna answers."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Container
from typing import Any

from ray.tune.search import Searcher

from search.driver.cluster import Slots
from search.driver.faults import LOST, Fault
from search.driver.ledger import Ledger
from search.study.plan import TrialSpec
from search.worker.trial import config_of
from search.worker.trial_rows import Progress

log = logging.getLogger("steppe")

PROGRESS = tuple(Progress.__dataclass_fields__)


class StudySearcher(Searcher):
    """Routes Tune's trials to the studies of a ledger. It sees no metric by name: `metric=None`.

    An exception here would end Tune's loop and every trial with it, so a failure is kept in
    `failure`, nothing more is handed out, and the driver says what happened. No trial is handed
    out before `slots` has a place for it, so that a sampler sees all there is to see.
    """

    def __init__(
        self,
        ledger: Ledger,
        slots: Slots,
        on_failure: Callable[[], None],
        hang_seconds: float | None = None,
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._ledger = ledger
        self._slots = slots
        self._on_failure = on_failure
        self._hang_seconds = hang_seconds or math.inf
        self._signs: dict[str, float] = {}  # of life: when each trial was heard of last
        self.specs: dict[str, TrialSpec] = {}
        self.faults: dict[str, Fault] = {}
        self.failure: Exception | None = None

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        if self.failure:
            return Searcher.FINISHED
        try:
            if self.specs and len(self.specs) >= self._slots.count():
                return None
            spec = self._ledger.next()
        except Exception as error:
            self.fail(error)
            return Searcher.FINISHED
        if spec is None:
            # One that is at work may have to be handed out again.
            return None if self.specs else Searcher.FINISHED
        self.specs[trial_id] = spec
        self._signs[trial_id] = time.monotonic()
        return config_of(spec)

    def report(self, trial_id: str, result: dict[str, Any]) -> bool:
        """What a trial says at an evaluation; True if it is to be stopped."""
        self._signs[trial_id] = time.monotonic()
        progress = progress_of(result)
        if progress.state is not None or self.failure:
            return False
        try:
            spec = self.specs[trial_id]
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
        spec = self.specs.pop(trial_id, None)
        fault = self.faults.pop(trial_id, LOST)
        silent = time.monotonic() - self._signs.pop(trial_id, math.inf)
        if fault.died and silent >= self._hang_seconds:
            limit = f"{self._hang_seconds:g} s, as search.hang_seconds allows"
            fault = Fault(f"no evaluation within {limit}: its worker was ended")
        if spec is None or not self._ledger.is_running(spec) or self.failure:
            return
        try:
            progress = None if error or not result else progress_of(result)
            if progress is not None and progress.state is not None:
                self._ledger.finish(spec, progress)
            elif fault.mend is not None:
                self.fail(fault.mend)  # the trial stays as it is, for a resume
            else:
                self._ledger.lose(spec, fault.reason, fault.counts)
        except Exception as failure:
            self.fail(failure)

    def drop_lost(self, live: Container[str]) -> None:
        """Takes back trials that Tune gave up without a word, as when a worker was not reused.

        Each would hold its place for ever, and with the last place the sweep would stand still.
        """
        for trial_id in [trial_id for trial_id in self.specs if trial_id not in live]:
            self.on_trial_complete(trial_id, error=True)

    def fail(self, error: Exception) -> None:
        """Keeps the first failure; trials still running are left to a later resume."""
        log.error("the search stops", exc_info=error)
        self.failure = self.failure or error
        self._on_failure()

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher for a restore that Steppe has no use for.
        return {}


def progress_of(result: dict[str, Any]) -> Progress:
    return Progress(**{name: result.get(name) for name in PROGRESS})  # type: ignore[arg-type]
