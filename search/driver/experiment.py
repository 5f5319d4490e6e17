"""Runs the trials of a ledger as one Ray Tune experiment."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from search.driver.cluster import Slots
from search.driver.ledger import Ledger
from search.driver.trackers import Tracker
from search.driver.tracking import tracking_callbacks
from search.driver.tune_adapter import StudyScheduler, StudySearcher
from search.errors import SteppeError
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan
from search.worker.actor import trial_actor
from search.worker.trial import run_trial


class StopRequest(tune.Stopper):
    """Ends the experiment once `asked` is set; running trials stay running in the storage."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to end one trial: never, as pruning does that."""
        return False

    def stop_all(self) -> bool:
        """Whether to end the experiment."""
        return self.asked.is_set()

    def __getstate__(self) -> dict[str, Any]:
        return {}


def drive(
    plans: Mapping[str, StudyPlan],
    folder: RunFolder,
    ledger: Ledger,
    stop: StopRequest,
    tracked: Sequence[Tracker] = (),
) -> None:
    """Runs trials until the ledger has no more, or until `stop` is asked for.

    Ray must be initialized. Raises SteppeError if no node has the resources of a trial, the run
    folder can no longer be written, or a node cannot take part; and any error of the search itself.
    """
    common = next(iter(plans.values()))
    needs = common.resources.as_ray_resources()
    slots = Slots(needs)
    if not slots.count():
        given = common.resources.model_dump(exclude_none=True)
        asked = ", ".join(f"resources.{name}: {need:g}" for name, need in given.items())
        raise SteppeError(
            f"no node of the cluster has {asked} for a trial; ask for less, "
            "or start Ray on larger nodes"
        )
    searcher = StudySearcher(ledger, slots, stop.asked.set, common.search.hang_seconds)
    scheduler = StudyScheduler(searcher)
    with (
        tempfile.TemporaryDirectory(prefix="steppe-ray-") as scratch,
        tracking_callbacks(plans, folder, tracked) as callbacks,
    ):
        tuner = tune.Tuner(
            trial_actor(run_trial, plans, folder, needs),
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
                callbacks=callbacks,
                verbose=0,
            ),
        )
        tuner.fit()
    if searcher.failure is not None:
        raise searcher.failure


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
