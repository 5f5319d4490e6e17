"""How far a run is, read from its files by any process."""

from __future__ import annotations

import time
from collections import Counter

from optuna.storages import BaseStorage
from optuna.trial import TrialState
from rich.filesize import decimal

from search.config.one_dataset import by_dataset
from search.driver.live import Row, console, table
from search.run import lease, storage
from search.run.kept_weights import WEIGHTS
from search.run.recorded import sweep_of
from search.run.run_folder import CHECKPOINTS, RunFolder
from search.studies import Study, studies
from search.study_space import budget
from search.trial_state import state_of


def print_status(run: str) -> None:
    """Prints the studies of a run and whether a driver is at work on it.

    Raises UserError for a run that does not exist.
    """
    folder = RunFolder.existing(run)
    sweep = sweep_of(folder)
    stored = storage.open_for_reading(folder)
    begun = {study.study_name: study._study_id for study in stored.get_all_studies()}
    parts = by_dataset(sweep)
    rows = [
        _row(stored, study, begun.get(study.id), budget(parts[study.dataset], study.algorithm))
        for study in studies(sweep)
    ]
    running = sum(row.running for row in rows)
    left = sum(row.budget - row.count for row in rows)
    ended = sum(row.count for row in rows)
    driver = _driver(folder, left, running)
    screen = console()
    screen.print(table(sweep.name, rows))
    screen.print(f"{ended} of {ended + left} trials ended, in {folder.uri}")
    screen.print(_disk_use(folder))
    screen.print(driver)


def _row(stored: BaseStorage, study: Study, study_id: int | None, budget: int) -> Row:
    ended: Counter[str] = Counter()
    running, best = 0, None
    for trial in [] if study_id is None else stored.get_all_trials(study_id, deepcopy=False):
        state = state_of(trial)
        if state is not None:
            ended[state] += 1
        running += trial.state == TrialState.RUNNING
        if state == "completed" and trial.value is not None:
            best = trial.value if best is None else max(best, trial.value)
    columns = study.dataset, study.algorithm, study.held_out, str(study.seed)
    return Row(*columns, budget, running, ended, best)


def _disk_use(folder: RunFolder) -> str:
    parts = {name: folder.size(name) for name in (CHECKPOINTS, WEIGHTS)}
    of_these = ", ".join(f"{name} {decimal(size)}" for name, size in parts.items() if size)
    return f"{decimal(folder.size())} on disk" + (f", of it {of_these}" if of_these else "")


def _driver(folder: RunFolder, left: int, running: int) -> str:
    """One sentence on who is at work, and what a resume would do."""
    holder = lease.read(folder)
    if holder is not None and holder.alive:
        ago = max(time.time() - holder.beat, 0)
        return f"driven by process {holder.pid} on {holder.host}, last heard of {ago:.0f} s ago"
    if not left:
        return "complete"
    gone = "" if holder is None else f"its driver, process {holder.pid} on {holder.host}, is gone; "
    return (
        f"{gone}nobody is at work on it: `python -m search resume {folder.uri}` would continue "
        f"{running} trials and start {left - running}"
    )
