"""A sweep from its configuration to its tables; a resume is a launch on what is there."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import optuna

from search.checks.check_data import check_batches, check_data
from search.checks.check_training import check_device, try_model
from search.checks.load_sweep import named_as_in, sweep_of
from search.checks.notes import notes
from search.checks.open_datasets import open_datasets
from search.driver import live_view, warm_start
from search.driver.cluster import in_a_copy, prepare_environment, ray_cluster
from search.driver.ledger import Ledger
from search.driver.trackers import require, trackers
from search.errors import SteppeError
from search.results.notes import saw_held_out, why_untried
from search.results.selection import METHODS, select
from search.run import lease, manifest, storage, tables
from search.run.driver_log import driver_log
from search.run.run_folder import CHECKPOINTS, FOLDS, MANIFEST, SWEEP, TRIALS, WARM_START, RunFolder
from search.run.storage import JOURNAL
from search.run.wall_clock import WALL_CLOCK, WallClock
from search.study.plan import plans
from search.study.resolved_sweep import as_yaml, differ, differences
from search.study.study import study_columns
from search.sweep import config_errors
from search.sweep.schema import Sweep

log = logging.getLogger("steppe")


def launch(
    sweep: Sweep,
    folder: RunFolder,
    address: str | None = None,
    source: str | None = None,
    overridden: Collection[config_errors.KeyPath] = (),
    recorded: Sweep | None = None,
) -> bool:
    """Runs the sweep, or what is left of it; True when it has come to its end, or its budget's.

    False: it was stopped, and a resume goes on. So does a launch with a larger budget; a trial that
    was at work when the wall hours were over goes on then, from its checkpoint. `source` and
    `overridden`: the file and the keys of the command line that messages name.
    `recorded`: the sweep of the folder, if it has been read.

    Raises SteppeError if its trials could not begin, and if the folder holds another sweep, is in use
    by another driver, or cannot be written.
    """
    if recorded is None and folder.exists(SWEEP):
        recorded = sweep_of(folder)
    _check_same(sweep, recorded, folder)
    sweep = named_as_in(folder, sweep)
    require(sweep.track)
    planned = plans(sweep)
    begin_with = None if folder.exists(WARM_START) else warm_start.find(planned)

    def refuse(wrong: list[config_errors.Problem]) -> None:
        if wrong:
            raise config_errors.config_error(source or folder.path(SWEEP), wrong, overridden)

    new = not folder.exists(SWEEP)  # a run of an earlier version goes on as it began
    if new:
        refuse(check_batches(sweep))
    found = open_datasets(sweep)
    if new:
        refuse(check_data(sweep, planned, found))
    taken = try_model(sweep.model, found)
    if new:
        for note in notes(sweep, found):
            print(note, flush=True)
    # ray is imported late, so that what a user got wrong is said at once.
    prepare_environment()
    import ray

    from search.driver.experiment import StopRequest, drive, stopping_on_signals

    if address is None and not ray.is_initialized():  # else trials compute on other machines
        refuse(check_device(sweep))
    stop = StopRequest()
    with (
        stopping_on_signals(stop),
        lease.Lease(folder, on_loss=stop.asked.set) as held,
        _logging_to(folder),
        _no_false_start(folder),
    ):
        if recorded is None or differ(sweep, recorded):
            folder.write_bytes(SWEEP, as_yaml(sweep).encode())
        warm_start.record(folder, begin_with)
        saw = saw_held_out(sweep.search)
        manifest.record(folder, found, saw, taken)
        if taken is not None:
            print(f"Weights: {taken}", flush=True)
        # A damaged table is better found now than after the last trial.
        tables.read_trials(folder), tables.read_evaluations(folder)
        stored = storage.open_for_writing(folder)
        ledger = Ledger(planned, folder, stored)
        tracked = trackers(sweep.track, sweep.name, folder)
        for tracker in tracked:
            print(f"Tracked: {tracker.sentence}", flush=True)
        clock = WallClock(folder, sweep.search.budget.wall_hours, on_end=stop.asked.set)
        with (
            live_view.live_progress(sweep.name, ledger, folder),
            clock if ledger.left else nullcontext(),
        ):
            if ledger.left and not stop.asked.is_set():
                # Again after Ray has started, as it sets a handler of its own for SIGTERM.
                with ray_cluster(address), stopping_on_signals(stop):
                    if not stop.asked.is_set():
                        drive(planned, folder, ledger, stop, tracked)
        held.check()
        stored.flush()
        complete = all(record.done for record in ledger.records.values())
        if complete:
            folder.delete(CHECKPOINTS)
            if not any(record.ended_by_budget for record in ledger.records.values()):
                folder.delete(FOLDS)
            ledger.delete_leftovers()
        finish(sweep, folder)
    return complete or clock.over


def default_output(sweep: Sweep) -> Path:
    """Where a run lies if nothing is said. Raises SteppeError where that would not last."""
    if in_a_copy():
        raise SteppeError(
            "inside `ray job submit` the checkout is a copy that is deleted with the job: give the "
            "run a place that all nodes see, such as /shared/runs/NAME or s3://bucket/runs/NAME, "
            "with --output"
        )
    return Path("runs") / sweep.name


def resume(location: str | Path, address: str | None = None) -> tuple[RunFolder, bool]:
    """Goes on with the sweep of a run folder. Raises SteppeError as `launch` does."""
    folder = RunFolder.create(RunFolder.existing(location).uri)
    sweep = sweep_of(folder)
    return folder, launch(sweep, folder, address, recorded=sweep)


def finish(sweep: Sweep, folder: RunFolder) -> None:
    """Writes the selection table from the trials so far."""
    trials, evaluations = tables.read_trials(folder), tables.read_evaluations(folder)
    asked = study_columns(sweep)
    why = why_untried(sweep, asked, trials, tables.ended_studies(folder))
    chosen = select(trials, evaluations, tuple(METHODS), asked, why)
    tables.write_selection(folder, chosen)


def _check_same(sweep: Sweep, recorded: Sweep | None, folder: RunFolder) -> None:
    parts = {SWEEP: recorded is not None, JOURNAL: storage.begun(folder)}
    if sweep.search.warm_start is not None:
        parts[WARM_START] = folder.exists(WARM_START)
    if folder.list(TRIALS) and not all(parts.values()):
        missing = next(name for name, there in parts.items() if not there)
        raise SteppeError(
            f"{folder.uri} holds trials, but its {missing} is missing; put it back, or give "
            "another place with --output"
        )
    if recorded is None:
        return
    found = differences(sweep, recorded)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise SteppeError(
            f"{folder.uri} holds a run of another configuration: {'; '.join(found[:3])}{more}; "
            "change `name`, or give another place with --output"
        )


@contextmanager
def _no_false_start(folder: RunFolder) -> Iterator[None]:
    """Removes what was written if an error ends the run before its first trial.

    What is wrong will be put right in the configuration, which then differs from the one here.
    """
    new = not folder.exists(SWEEP)
    try:
        yield
    except SteppeError:
        with suppress(OSError):  # as when that is what ended it
            once = folder.without_retries()
            if new and not storage.begun(once):
                for name in (SWEEP, WARM_START, MANIFEST, JOURNAL, WALL_CLOCK):
                    once.delete(name)
        raise


@contextmanager
def _logging_to(folder: RunFolder) -> Iterator[None]:
    """Steppe's own log, and Optuna's warnings, in the run folder instead of on the screen."""
    handler = driver_log(folder)
    optuna.logging.disable_default_handler()
    sources = [log, logging.getLogger("optuna")]
    for source in sources:
        source.addHandler(handler)
        source.propagate = False
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        for source in sources:
            source.removeHandler(handler)
        handler.close()
