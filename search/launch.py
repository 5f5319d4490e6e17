"""A sweep from its configuration to its tables; a resume is a launch on what is there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from datasets.domain_dataset import DomainDataset
from search import lease, live, manifest, storage, tables
from search.cluster import prepare_environment, ray_cluster
from search.config import Sweep
from search.errors import UserError
from search.ledger import Ledger
from search.recorded import JOURNAL, journal_of, sweep_of
from search.resolved_config import as_yaml, differences
from search.run_folder import CHECKPOINTS, MANIFEST, SWEEP, TRIALS, RunFolder
from search.selection import METHODS, select
from search.studies import asked_studies

log = logging.getLogger("steppe")


def launch(sweep: Sweep, folder: RunFolder, address: str | None = None) -> bool:
    """Runs the sweep, or what is left of it; True when every trial has ended.

    False: it was stopped, and a resume goes on. Raises UserError if the folder holds another
    sweep, is in use by another driver, or cannot be written.
    """
    journal = journal_of(folder)
    _check_same(sweep, folder, journal)
    dataset = _dataset(sweep)
    # ray is imported late, so that what a user got wrong is said at once.
    prepare_environment()
    from search.drive import Stop, drive, stopping_on_signals

    stop = Stop()
    with (
        stopping_on_signals(stop),
        lease.Lease(folder, on_loss=stop.asked.set),
        _logging_to(folder),
        _no_false_start(folder, journal),
    ):
        if not folder.exists(SWEEP):
            folder.write_bytes(SWEEP, as_yaml(sweep).encode())
        manifest.record(folder, dataset)
        # A damaged table is better found now than after the last trial.
        tables.read_trials(folder), tables.read_evaluations(folder)
        ledger = Ledger(sweep, folder, storage.open_for_writing(journal))
        with live.progress(sweep, ledger, folder):
            if ledger.left and not stop.asked.is_set():
                # Again after Ray has started, as it sets a handler of its own for SIGTERM.
                with ray_cluster(address), stopping_on_signals(stop):
                    if not stop.asked.is_set():
                        drive(sweep, folder, ledger, stop, shared=address is not None)
        complete = all(book.done for book in ledger.books.values())
        if complete:
            folder.delete(CHECKPOINTS)
        finish(sweep, folder)
    return complete


def resume(location: str | Path, address: str | None = None) -> tuple[RunFolder, bool]:
    """Goes on with the sweep of a run folder. Raises UserError as `launch` does."""
    folder = RunFolder.create(RunFolder.existing(location).uri)
    return folder, launch(sweep_of(folder), folder, address)


def finish(sweep: Sweep, folder: RunFolder) -> None:
    """Writes the selection table from the trials so far."""
    trials, evaluations = tables.read_trials(folder), tables.read_evaluations(folder)
    chosen = select(trials, evaluations, tuple(METHODS), asked_studies(sweep))
    tables.write_selection(folder, chosen)


def _dataset(sweep: Sweep) -> DomainDataset:
    from search.prepare import load  # late: most commands decode nothing

    given = sweep.dataset
    return load(given.name, given.root, given.size, given.allow)


def _check_same(sweep: Sweep, folder: RunFolder, journal: Path) -> None:
    parts = {SWEEP: folder.exists(SWEEP), JOURNAL: journal.exists()}
    if folder.list(TRIALS) and not all(parts.values()):
        missing = next(name for name, there in parts.items() if not there)
        raise UserError(
            f"{folder.uri} holds trials, but its {missing} is missing; put it back, or give "
            "another place with --output"
        )
    if not parts[SWEEP]:
        return
    found = differences(sweep, sweep_of(folder))
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise UserError(
            f"{folder.uri} holds a run of another configuration: {'; '.join(found[:3])}{more}; "
            "change `name`, or give another place with --output"
        )


@contextmanager
def _no_false_start(folder: RunFolder, journal: Path) -> Iterator[None]:
    """Removes what was written if an error ends the run before its first trial.

    What is wrong will be put right in the configuration, which then differs from the one here.
    """
    new = not folder.exists(SWEEP)
    try:
        yield
    except UserError:
        if new and not (journal.exists() and journal.stat().st_size):
            for name in (SWEEP, MANIFEST, JOURNAL):
                folder.delete(name)
        raise


@contextmanager
def _logging_to(folder: RunFolder) -> Iterator[None]:
    """Steppe's own log, and Optuna's warnings, in the run folder instead of on the screen."""
    handler: logging.Handler = logging.NullHandler()
    if folder.local:
        handler = logging.FileHandler(folder.path("driver.log"), delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
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
