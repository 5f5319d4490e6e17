"""Trackers hear of a sweep's trials, each in a thread: none can slow or end the sweep."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback

from search.driver.trackers import TrackedTrial, Tracker, metrics, run_id
from search.driver.tune_searcher import progress_of
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan
from search.worker.trial import spec_of
from search.worker.trial_rows import Progress

log = logging.getLogger("steppe")

CLOSE_SECONDS = 60
MOST_WAITING = 10_000  # news that a tracker has not come to yet

News = Callable[[LoggerCallback], None]


class Teller:
    """The thread that talks to one tracker; its first error is logged, and is the last."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._news: queue.Queue[News | None] = queue.Queue(MOST_WAITING)
        self._silent = False
        self._thread = threading.Thread(target=self._work, name=tracker.name, daemon=True)
        self._thread.start()

    def tell(self, news: News | None) -> None:
        """Does not wait. None: there will be no more."""
        if self._silent:
            return
        try:
            self._news.put_nowait(news)
        except queue.Full:
            self._give_up(f"{MOST_WAITING} messages wait for it")

    def close(self) -> None:
        """Waits until all is told, but not for long."""
        self.tell(None)
        if self._silent:  # it hangs, or has ended
            return
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"it did not take all of it within {CLOSE_SECONDS} s of the sweep's end")

    def _work(self) -> None:
        try:
            logger = self._tracker.logger()
            logger.setup()
            while (news := self._news.get()) is not None and not self._silent:
                news(logger)
            logger.on_experiment_end([])
        except BaseException as error:  # also SystemExit, which a library may raise
            self._give_up(f"{type(error).__name__}: {error}")

    def _give_up(self, reason: str) -> None:
        if not self._silent:
            self._silent = True
            log.warning(
                "%s is told no more; the sweep and its tables go on without it: %s",
                self._tracker.name,
                reason,
            )


class TrialNews(tune.Callback):
    """Tells one tracker of trials by their own names, whichever attempt Tune is at.

    An attempt that failed is followed by another, as a rule: its trial stays open until the end.
    """

    def __init__(
        self,
        plans: Mapping[str, StudyPlan],
        run_id: str,
        tracker: Tracker,
        teller: Teller,
    ) -> None:
        self._plans = plans
        self._run_id = run_id
        self._tracker = tracker
        self._teller = teller
        self._open: dict[str, Any] = {}  # TrackedTrial, where Ray's loggers ask for its own
        self._told: dict[str, Progress] = {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Trial, **info: Any) -> None:
        spec = spec_of(trial.config, self._plans)
        name = spec.trial
        if name in self._open:
            return
        place = self._tracker.trial_place(name)
        tracked: Any = TrackedTrial(spec, self._run_id, place)
        self._open[name] = tracked
        self._teller.tell(lambda logger: logger.log_trial_start(tracked))

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        name, progress = self._name(trial), progress_of(result)
        tracked, before = self._open.get(name), self._told.get(name)
        if tracked is None or progress.value is None:
            return
        if before is not None and (
            progress.step < before.step
            or (progress.step, progress.value) == (before.step, before.value)
        ):
            return  # said again by another attempt, or at the end
        self._told[name] = progress

        def news(logger: LoggerCallback) -> None:
            if progress.step > tracked.step or progress.state is not None:
                logger.log_trial_result(progress.step, tracked, metrics(progress))

        self._teller.tell(news)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Trial, **info: Any) -> None:
        self._end(self._name(trial), failed=False)

    def close(self) -> None:
        """Ends the trials that did not end by themselves."""
        for name in list(self._open):
            self._end(name, failed=True)
        self._teller.close()

    def _name(self, trial: Trial) -> str:
        return spec_of(trial.config, self._plans).trial

    def _end(self, name: str, failed: bool) -> None:
        tracked = self._open.pop(name, None)
        self._told.pop(name, None)
        if tracked is not None:
            self._teller.tell(lambda logger: logger.log_trial_end(tracked, failed=failed))

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks for a restore that Steppe has no use for.
        return {}


@contextmanager
def telling(
    plans: Mapping[str, StudyPlan], folder: RunFolder, trackers: Sequence[Tracker]
) -> Iterator[list[tune.Callback]]:
    """Callbacks for Tune, one for each tracker; they are told all that is left at the end."""
    own = run_id(folder) if trackers else ""
    news = [TrialNews(plans, own, tracker, Teller(tracker)) for tracker in trackers]
    try:
        yield list(news)
    finally:
        for one in news:
            one.close()
