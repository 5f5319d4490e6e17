"""Runs a sweep, from its configuration to its tables. A resume is a launch on an existing run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from datasets.domain_dataset import DomainDataset
from search.checks.check_data import check_batches, check_data
from search.checks.check_training import check_device, try_model
from search.checks.load_sweep import as_in, sweep_of
from search.checks.notes import notes
from search.checks.open_datasets import open_datasets
from search.driver import live_view, warm_start, weights_origin
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
from search.study.plan import StudyPlan, plans
from search.study.resolved_sweep import as_yaml, differ, differences
from search.study.study import study_columns
from search.sweep import config_errors
from search.sweep.per_dataset import with_originals_of
from search.sweep.schema import Sweep

if TYPE_CHECKING:
    from models.checkpoints import Taken
    from search.driver.experiment import StopRequest

log = logging.getLogger("steppe")


@dataclass(frozen=True)
class _Prepared:
    """A sweep that has passed all checks, and what it works with."""

    sweep: Sweep
    plans: Mapping[str, StudyPlan]
    datasets: Sequence[DomainDataset]
    weights: Taken | None
    warm_start: Mapping[str, Any] | None
    weights_saw: Sequence[str]
    weights_known: bool


def launch(
    sweep: Sweep,
    folder: RunFolder,
    address: str | None = None,
    source: str | None = None,
    overridden: Collection[config_errors.KeyPath] = (),
    recorded: Sweep | None = None,
) -> bool:
    """Runs a sweep, or what is left of it; True if it has come to its end or spent its budget.

    False means that it was stopped; a resume continues it. A launch with a larger budget continues
    a sweep that has spent its budget, and trials that were running then from their checkpoints.

    source, overridden: the sweep file, and the keys set on the command line, for messages.
    recorded: the sweep of the folder, if it has been read already.

    Raises SteppeError if its trials cannot begin, and if the folder holds another sweep, is in use
    by another driver, or cannot be written.
    """
    if recorded is None and folder.exists(SWEEP):
        recorded = sweep_of(folder)
    if recorded is not None:
        sweep = with_originals_of(sweep, recorded)
    _check_same(sweep, recorded, folder)
    refuse = partial(_refuse, source or folder.path(SWEEP), overridden)
    prepared = _prepare(as_in(folder, sweep), folder, refuse)
    sweep = prepared.sweep
    # ray is imported late, so that errors of the user are reported at once.
    prepare_environment(local=address is None)
    import ray

    from search.driver.experiment import StopRequest, stopping_on_signals

    if address is None and not ray.is_initialized():  # else trials compute on other machines
        refuse(check_device(sweep))
    stop = StopRequest()
    with (
        stopping_on_signals(stop),
        lease.Lease(folder, on_loss=stop.asked.set) as held,
        _logging_to(folder),
        _undone_if_never_begun(folder),
    ):
        _record_start(prepared, folder, recorded)
        stored = storage.open_for_writing(folder)
        ledger = Ledger(prepared.plans, folder, stored)
        clock = WallClock(folder, sweep.search.budget.wall_hours, on_end=stop.asked.set)
        _carry_out(prepared, folder, ledger, stop, clock, address)
        held.check()
        stored.flush()
        complete = all(record.done for record in ledger.records.values())
        if complete:
            _delete_working_files(folder, ledger)
        write_selection(sweep, folder)
    return complete or clock.over


def _refuse(
    source: str,
    overridden: Collection[config_errors.KeyPath],
    wrong: Sequence[config_errors.Problem],
) -> None:
    if wrong:
        raise config_errors.config_error(source, list(wrong), overridden)


def _prepare(
    sweep: Sweep, folder: RunFolder, refuse: Callable[[list[config_errors.Problem]], None]
) -> _Prepared:
    """Checks everything that can be checked before the first trial, and builds the datasets."""
    require(sweep.track)
    planned = plans(sweep)
    begin_with = None if folder.exists(WARM_START) else warm_start.find(planned)
    new = not folder.exists(SWEEP)  # a run of an earlier version continues without new checks
    if new:
        refuse(check_batches(sweep))
    found = open_datasets(sweep)
    if new:
        refuse(check_data(sweep, planned, found))
    taken = try_model(sweep.model, found)
    origin = weights_origin.origin(sweep.model.name, sweep.model.weights)
    held_out: dict[str, dict[str, None]] = {}
    for plan in planned.values():
        held_out.setdefault(plan.study.dataset, {})[plan.study.held_out] = None
    saw = [
        why
        for dataset in found
        for why in weights_origin.seen(
            origin, sweep.model.weights, dataset, [*held_out[dataset.name]]
        )
    ]
    if saw and new and not sweep.search.allow_oracle:
        raise SteppeError(
            f"{saw[0]}: no domain generalization is measured so; hold out the domain that the "
            "weights have not seen, choose other weights, or set search.allow_oracle: true, and "
            "every table says so"
        )
    if new:
        for note in notes(sweep, found):
            print(note, flush=True)
    known = weights_origin.known_in_full(origin, found)
    return _Prepared(sweep, planned, found, taken, begin_with, saw, known)


def _record_start(prepared: _Prepared, folder: RunFolder, recorded: Sweep | None) -> None:
    """Writes the files that describe the run, and checks those that are there."""
    sweep = prepared.sweep
    if recorded is None or differ(sweep, recorded):
        folder.write_bytes(SWEEP, as_yaml(sweep).encode())
    warm_start.record(folder, prepared.warm_start)
    manifest.record(
        folder,
        prepared.datasets,
        saw_held_out(sweep.search),
        prepared.weights,
        prepared.weights_saw,
        prepared.weights_known,
    )
    if prepared.weights is not None:
        print(f"Weights: {prepared.weights}", flush=True)
    # A damaged table had better be found now than after the last trial.
    tables.read_trials(folder), tables.read_evaluations(folder)


def _carry_out(
    prepared: _Prepared,
    folder: RunFolder,
    ledger: Ledger,
    stop: StopRequest,
    clock: WallClock,
    address: str | None,
) -> None:
    """Runs the trials that are left, on Ray."""
    from search.driver.experiment import drive, stopping_on_signals

    sweep = prepared.sweep
    tracked = trackers(sweep.track, sweep.name, folder)
    for tracker in tracked:
        print(f"Tracked: {tracker.sentence}", flush=True)
    with (
        live_view.live_progress(sweep.name, ledger, folder),
        clock if ledger.left else nullcontext(),
    ):
        if ledger.left and not stop.asked.is_set():
            # Again after Ray has started, as it sets a handler of its own for SIGTERM.
            with ray_cluster(address), stopping_on_signals(stop):
                if not stop.asked.is_set():
                    drive(prepared.plans, folder, ledger, stop, tracked)


def _delete_working_files(folder: RunFolder, ledger: Ledger) -> None:
    if not any(record.frozen for record in ledger.records.values()):
        folder.delete(CHECKPOINTS)
    if not any(record.ended_by_budget for record in ledger.records.values()):
        folder.delete(FOLDS)
    ledger.delete_leftovers()


def default_output(sweep: Sweep) -> Path:
    """The folder of a run without --output. Raises SteppeError where it would be deleted."""
    if in_a_copy():
        raise SteppeError(
            "inside `ray job submit` the checkout is a copy that is deleted with the job: give the "
            "run a place that all nodes see, such as /shared/runs/NAME or s3://bucket/runs/NAME, "
            "with --output"
        )
    return Path("runs") / sweep.name


def resume(location: str | Path, address: str | None = None) -> tuple[RunFolder, bool]:
    """Continues the sweep of a run folder. Raises SteppeError as `launch` does."""
    folder = RunFolder.create(RunFolder.existing(location).uri)
    sweep = sweep_of(folder)
    return folder, launch(sweep, folder, address, recorded=sweep)


def write_selection(sweep: Sweep, folder: RunFolder) -> None:
    """Writes the selection table of the trials so far."""
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
def _undone_if_never_begun(folder: RunFolder) -> Iterator[None]:
    """Deletes the files of a new run if an error ends it before its first trial.

    The user will fix the configuration, which would then differ from the one in the folder.
    """
    new = not folder.exists(SWEEP)
    try:
        yield
    except SteppeError:
        with suppress(OSError):  # the store may be what failed
            once = folder.without_retries()
            if new and not storage.begun(once):
                for name in (SWEEP, WARM_START, MANIFEST, JOURNAL, WALL_CLOCK):
                    once.delete(name)
        raise


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
