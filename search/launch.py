"""A sweep from its configuration to its tables; a resume is a launch on what is there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

import datasets
from search import lease, live, manifest, storage, tables
from search.cluster import ray_cluster
from search.config import Sweep
from search.errors import UserError
from search.ledger import Ledger
from search.recorded import journal_of, sweep_of
from search.resolved_config import as_yaml, differences
from search.run_folder import SWEEP, RunFolder
from search.selection import METHODS, select
from search.studies import asked_studies

log = logging.getLogger("steppe")


def launch(sweep: Sweep, folder: RunFolder, address: str | None = None) -> bool:
    """Runs the sweep, or what is left of it; True when every trial has ended.

    False: it was stopped, and a resume goes on. Raises UserError if the folder holds another
    sweep, is in use by another driver, or cannot be written.
    """
    _check_same(sweep, folder)
    # ray is imported late, so that what a user got wrong is said at once.
    from search.drive import Stop, drive, stopping_on_signals

    stop = Stop()
    with lease.Lease(folder, on_loss=stop.asked.set), _logging_to(folder):
        folder.write_bytes(SWEEP, as_yaml(sweep).encode())
        manifest.record(folder, datasets.load(sweep.dataset.name, sweep.dataset.root))
        ledger = Ledger(sweep, folder, storage.open_for_writing(journal_of(folder)))
        with live.progress(sweep, ledger, folder):
            if ledger.left and not stop.asked.is_set():
                with stopping_on_signals(stop), ray_cluster(address):
                    drive(sweep, folder, ledger, stop, shared=address is not None)
        finish(sweep, folder)
    return all(book.done for book in ledger.books.values())


def resume(location: str | Path, address: str | None = None) -> tuple[Sweep, RunFolder, bool]:
    """Goes on with the sweep of a run folder. Raises UserError as `launch` does."""
    folder = RunFolder.existing(location)
    sweep = sweep_of(folder)
    return sweep, folder, launch(sweep, folder, address)


def finish(sweep: Sweep, folder: RunFolder) -> None:
    """Writes the selection table from the trials so far."""
    trials, evaluations = tables.read_trials(folder), tables.read_evaluations(folder)
    chosen = select(trials, evaluations, tuple(METHODS), asked_studies(sweep))
    tables.write_selection(folder, chosen)


def _check_same(sweep: Sweep, folder: RunFolder) -> None:
    if not folder.exists(SWEEP):
        return
    found = differences(sweep, sweep_of(folder))
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise UserError(
            f"{folder.uri} holds a run of another configuration: {'; '.join(found[:3])}{more}; "
            "change `name`, or give another place with --output"
        )


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
