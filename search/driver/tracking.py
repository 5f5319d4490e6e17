"""Sends the reports of trials to trackers, each in a thread, so that none slows or ends a sweep."""

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
from search.run.columns import FROZEN
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan
from search.worker.actor import spec_of
from search.worker.trial_rows import Progress

log = logging.getLogger("steppe")

CLOSE_SECONDS = 60
MAX_WAITING = 10_000  # messages in the queue of a tracker

Message = Callable[[LoggerCallback], None]


class TrackerThread:
    """The thread that calls one tracker. After an error, which is logged, it calls it no more."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._messages: queue.Queue[Message | None] = queue.Queue(MAX_WAITING)
        self._silent = False
        self._thread = threading.Thread(target=self._work, name=tracker.name, daemon=True)
        self._thread.start()

    def send(self, message: Message | None) -> None:
        """Queues a message without waiting; None is the last one."""
        if self._silent:
            return
        try:
            self._messages.put_nowait(message)
        except queue.Full:
            self._give_up(f"{MAX_WAITING} messages wait for it")

    def close(self) -> None:
        """Waits until all messages are sent, for CLOSE_SECONDS at most."""
        self.send(None)
        if self._silent:  # it hangs, or has ended
            return
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"it did not take all messages within {CLOSE_SECONDS} s of the end")

    def _work(self) -> None:
        try:
            logger = self._tracker.logger()
            logger.setup()
            while (message := self._messages.get()) is not None and not self._silent:
                message(logger)
            logger.on_experiment_end([])
        except BaseException as error:  # also SystemExit, which a library may raise
            self._give_up(f"{type(error).__name__}: {error}")

    def _give_up(self, reason: str) -> None:
        if not self._silent:
            self._silent = True
            log.warning(
                "%s gets no more messages; the sweep continues without it: %s",
                self._tracker.name,
                reason,
            )


class TrackerCallback(tune.Callback):
    """Sends the trials of a sweep to one tracker, under their own names over all attempts.

    A failed attempt is usually followed by another, so its trial stays open until the sweep ends.
    """

    def __init__(self, plans: Mapping[str, StudyPlan], run_id: str, tracker: Tracker) -> None:
        self._plans = plans
        self._run_id = run_id
        self._tracker = tracker
        self._sender = TrackerThread(tracker)
        self._open: dict[str, Any] = {}  # TrackedTrial, where Ray's loggers ask for its own
        self._told: dict[str, Progress] = {}
        self._frozen: set[str] = set()  # those that are about to leave their workers

    def on_trial_start(self, iteration: int, trials: Any, trial: Trial, **info: Any) -> None:
        """Opens a trial, if no attempt at it has done so."""
        spec = spec_of(trial.config, self._plans)
        name = spec.trial
        if name in self._open:
            return
        place = self._tracker.trial_place(name)
        tracked: Any = TrackedTrial(spec, self._run_id, place)
        self._open[name] = tracked
        self._sender.send(lambda logger: logger.log_trial_start(tracked))

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Sends a new report."""
        name, progress = self._name(trial), Progress.of_result(result)
        if progress.state == FROZEN:
            self._frozen.add(name)
        tracked, before = self._open.get(name), self._told.get(name)
        if tracked is None or progress.value is None:
            return
        if before is not None and (
            progress.step < before.step
            or (progress.step, progress.value) == (before.step, before.value)
        ):
            return  # repeated by another attempt, or at the end
        self._told[name] = progress

        def message(logger: LoggerCallback) -> None:
            if progress.step > tracked.step or progress.state is not None:
                logger.log_trial_result(progress.step, tracked, metrics(progress))

        self._sender.send(message)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Trial, **info: Any) -> None:
        """Closes a trial, unless it is frozen and may go on."""
        name = self._name(trial)
        if name not in self._frozen:
            self._end(name, failed=False)
        self._frozen.discard(name)

    def close(self) -> None:
        """Closes the trials that are still open, and the thread."""
        for name in list(self._open):
            self._end(name, failed=True)
        self._sender.close()

    def _name(self, trial: Trial) -> str:
        return spec_of(trial.config, self._plans).trial

    def _end(self, name: str, failed: bool) -> None:
        tracked = self._open.pop(name, None)
        self._told.pop(name, None)
        if tracked is not None:
            self._sender.send(lambda logger: logger.log_trial_end(tracked, failed=failed))

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks for its own restore, which Steppe does not use.
        return {}


@contextmanager
def tracking_callbacks(
    plans: Mapping[str, StudyPlan], folder: RunFolder, trackers: Sequence[Tracker]
) -> Iterator[list[tune.Callback]]:
    """Callbacks for Tune, one for each tracker; at the end all messages are sent."""
    own = run_id(folder) if trackers else ""
    callbacks = [TrackerCallback(plans, own, tracker) for tracker in trackers]
    try:
        yield list(callbacks)
    finally:
        for callback in callbacks:
            callback.close()
