"""Runs a sweep, from its configuration to its tables. A resume is a launch on an existing run."""

from __future__ import annotations

import gc
import logging
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import optuna

from search import results
from search.checks.check_training import check_device
from search.checks.load_sweep import roots_of, sweep_of
from search.checks.notes import notes
from search.driver import live_view
from search.driver.cluster import in_a_copy, ray_cluster
from search.driver.ledger import Ledger
from search.driver.opening import open_run, record, undone_if_never_begun
from search.driver.planning import in_advance
from search.driver.preparing import Prepared, prepare, refusing
from search.driver.ray_environment import prepare_environment
from search.driver.trackers import trackers
from search.errors import SteppeError
from search.run import lease, storage, tables
from search.run.driver_log import driver_log
from search.run.run_folder import CHECKPOINTS, FOLDS, SWEEP, RunFolder
from search.run.wall_clock import WallClock
from search.study.plan import device
from search.sweep import config_errors
from search.sweep.schema import Sweep

if TYPE_CHECKING:
    from search.driver.experiment import StopRequest
    from search.driver.local_ray import LocalRay

log = logging.getLogger("steppe")


def launch(
    sweep: Sweep,
    folder: RunFolder,
    address: str | None = None,
    source: str | None = None,
    overridden: Collection[config_errors.KeyPath] = (),
    local: LocalRay | None = None,
) -> bool:
    """Runs a sweep, or what is left of it; True if it has come to its end or spent its budget.

    False means that it was stopped; a resume continues it. A launch with a larger budget continues
    a sweep that has spent its budget, and trials that were running then from their checkpoints. A
    launch that asks for more studies or trials than the run has carries out those too.

    source, overridden: the sweep file, and the keys set on the command line, for messages. local:
    Ray of this machine, if it is starting already.

    Raises SteppeError if its trials cannot begin, and if the folder holds another sweep, is in use
    by another driver, or cannot be written.
    """
    # Threads of CUDA or of an object store would not survive the fork.
    if local is not None and folder.local and device(sweep) == "cpu":
        local.fork_template()
    opened = open_run(sweep, folder)
    refuse = refusing(source or folder.path(SWEEP), overridden)
    prepared = prepare(opened.sweep, folder, opened.new, refuse)
    sweep = prepared.sweep
    if opened.new:
        for line in (*notes(sweep, prepared.datasets), *in_advance(prepared)):
            print(line, flush=True)
    # ray is imported late, so that errors of the user are reported at once.
    prepare_environment(local=address is None)
    import ray

    from search.driver.experiment import StopRequest, stopping_on_signals

    if address is None and not ray.is_initialized():  # else trials compute on other machines
        refuse(check_device(sweep))
    stop = StopRequest()
    with (
        stopping_on_signals(stop),
        lease.Lease(folder, on_loss=stop.at_once) as held,
        _logging_to(folder),
        undone_if_never_begun(folder),
    ):
        record(prepared, opened, folder)
        clock = WallClock(folder, sweep.search.budget.wall_hours, on_end=stop.asked.set)
        complete = _carry_out(prepared, folder, held, stop, clock, ray_cluster(address, local))
        gc.collect()  # of 100,000 trials, the ledger is as large as the tables
        tables.write_selection(folder, results.load(folder.uri).selection)
    return complete or clock.over


def _carry_out(
    prepared: Prepared,
    folder: RunFolder,
    held: lease.Lease,
    stop: StopRequest,
    clock: WallClock,
    cluster: AbstractContextManager[None],
) -> bool:
    """Runs the trials that are left, on Ray; whether the sweep has come to its end."""
    from search.driver.experiment import drive, stopping_on_signals

    sweep = prepared.sweep
    stored = storage.open_for_writing(folder)
    ledger = Ledger(prepared.plans, folder, stored)
    tracked = trackers(sweep.track, sweep.name, folder)
    for tracker in tracked:
        print(f"Tracked: {tracker.sentence}", flush=True)
    with (
        live_view.live_progress(sweep.name, ledger, folder),
        clock if ledger.left else nullcontext(),
    ):
        if ledger.left and not stop.asked.is_set():
            # Again after Ray has started, as it sets a handler of its own for SIGTERM.
            with cluster, stopping_on_signals(stop):
                if not stop.asked.is_set():
                    drive(prepared.plans, folder, ledger, stop, tracked)
    held.check()
    stored.flush()
    complete = all(study.done for study in ledger.records.values())
    if complete:
        if not any(study.frozen for study in ledger.records.values()):
            folder.delete(CHECKPOINTS)
        if not any(study.ended_by_budget for study in ledger.records.values()):
            folder.delete(FOLDS)
        ledger.cleanup.delete_leftovers()
    return complete


def default_output(sweep: Sweep) -> Path:
    """The folder of a run without --output. Raises SteppeError where it would be deleted."""
    if in_a_copy():
        raise SteppeError(
            "inside `ray job submit` the checkout is a copy that is deleted with the job: give the "
            "run a place that all nodes see, such as /shared/runs/NAME or s3://bucket/runs/NAME, "
            "with --output"
        )
    return Path("runs") / sweep.name


def resume(
    location: str | Path,
    address: str | None = None,
    root: Path | None = None,
    local: LocalRay | None = None,
) -> tuple[RunFolder, bool]:
    """Continues the sweep of a run folder. Raises SteppeError as `launch` does.

    root: where its images lie now, if they have moved. local: as of `launch`.
    """
    folder = RunFolder.create(RunFolder.existing(location).uri)
    sweep = sweep_of(folder, roots_of(folder, root))
    return folder, launch(sweep, folder, address, local=local)


@contextmanager
def _logging_to(folder: RunFolder) -> Iterator[None]:
    """Sends Steppe's log and Optuna's warnings to the run folder instead of the terminal."""
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
