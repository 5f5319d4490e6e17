"""Runs the trials of a ledger as one Ray Tune experiment."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback

from search.driver.gpu_shares import MOST_TOGETHER, GpuShares
from search.driver.ledger import Ledger
from search.driver.slots import Slots
from search.driver.trackers import Tracker
from search.driver.tracking import tracking_callbacks
from search.driver.tune_adapter import StudyScheduler, StudySearcher
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan
from search.worker.actor import Leaving, trial_actor
from search.worker.trial import run_trial

# How long a sweep that stops waits for its trials to save.
SAVE_SECONDS = 30.0


class StopRequest(tune.Stopper):
    """Ends the experiment once `asked` is set and its trials have saved.

    They stay running in the storage.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._deadline: float | None = None
        self._ask_trials: Callable[[], None] = lambda: None
        self._at_work: Callable[[], bool] = lambda: False

    def at_once(self) -> None:
        """Asks to end without waiting, as when the trials are another driver's now."""
        self._deadline = 0.0
        self.asked.set()

    def lets_save(self, ask_trials: Callable[[], None], at_work: Callable[[], bool]) -> None:
        """Gives the running trials SAVE_SECONDS to save.

        ask_trials: tells them to. at_work: whether any is still running.
        """
        self._ask_trials, self._at_work = ask_trials, at_work

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to end one trial: never, as pruning does that."""
        return False

    def stop_all(self) -> bool:
        """Whether to end the experiment."""
        if not self.asked.is_set() or not self._at_work():
            return self.asked.is_set()
        if self._deadline is None:
            self._deadline = time.monotonic() + SAVE_SECONDS
            print("Stopping once the running trials have saved; Ctrl-C again does not wait.")
            self._ask_trials()
        return time.monotonic() >= self._deadline

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Silence(TrialProgressCallback):
    """Takes the place of Tune's printer, which with verbose=0 prints nothing either.

    But it would hold every trial, with its configuration, to the end of the sweep.
    """

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        """Nothing."""

    on_trial_error = on_trial_complete = on_trial_result


def drive(
    plans: Mapping[str, StudyPlan],
    folder: RunFolder,
    ledger: Ledger,
    stop: StopRequest,
    tracked: Sequence[Tracker] = (),
) -> None:
    """Runs trials until the ledger has no more, or until `stop` is asked for.

    Ray must be initialized. Raises SteppeError if no node has the resources of a trial, no node can
    take part, or the run folder can no longer be written; and any error of the search itself.
    """
    common = next(iter(plans.values()))
    needs = common.resources.as_ray_resources()
    given = common.resources.model_dump(exclude_none=True)
    asked = ", ".join(f"resources.{name}: {_shown(need)}" for name, need in given.items() if need)
    shares = GpuShares(plans, folder) if common.resources.gpu == "auto" else None
    slots = Slots(needs, asked, folder.uri, MOST_TOGETHER if shares else 1)
    slots.wait()
    searcher = StudySearcher(ledger, slots, stop.asked, common.search.hang_seconds, shares)
    scheduler = StudyScheduler(searcher)
    leaving = Leaving()
    stop.lets_save(leaving.ask, scheduler.at_work)
    with (
        tempfile.TemporaryDirectory(prefix="steppe-ray-") as scratch,
        tracking_callbacks(plans, folder, tracked) as callbacks,
    ):
        tuner = tune.Tuner(
            trial_actor(run_trial, plans, folder, needs, leaving),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,  # the searcher ends the experiment
                reuse_actors=True,
                trial_dirname_creator=_directory,
                trial_name_creator=_directory,
            ),
            run_config=tune.RunConfig(
                name=common.sweep,
                storage_path=scratch,  # only this process reads it
                # The ledger hands failed trials out again, and counts the failures.
                failure_config=tune.FailureConfig(max_failures=0),
                stop=stop,
                callbacks=[*callbacks, Silence()],
                verbose=0,
            ),
        )
        tuner.fit()
    leaving.forget()
    if searcher.failure is not None:
        raise searcher.failure


def _shown(need: float | str) -> str:
    return need if isinstance(need, str) else f"{need:g}"


@contextmanager
def stopping_on_signals(stop: StopRequest) -> Iterator[None]:
    """Stops the sweep on the first Ctrl-C or SIGTERM; the second ends the process as usual."""
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.asked.set()
        for name, handler in before.items():
            signal.signal(name, handler)

    for name in before:
        signal.signal(name, ask)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _directory(trial: Trial) -> str:
    return f"trial-{trial.trial_id}"
