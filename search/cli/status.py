"""How far a run is, read from its files by any process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState
from rich.filesize import decimal

from search.checks.load_sweep import sweep_of
from search.driver.queued_settings import PROMOTED
from search.driver.termination import shares, stops
from search.results.loading import has_budget, spent, spent_studies
from search.results.notes import saw_held_out
from search.run import lease, storage, tables
from search.run.run_folder import CHECKPOINTS, FOLDS, WEIGHTS, RunFolder
from search.screen import StudyProgress, console, progress_table
from search.space.ranges import Value, different_settings
from search.study.budgets import WALL_HOURS, Limit
from search.study.plan import plans
from search.study.seed_promotion import max_trials
from search.study.study import Study
from search.study.trial_attributes import state_of


def print_status(run: str) -> None:
    """Prints the studies of a run and whether a driver is at work on it.

    Raises SteppeError for a run that does not exist.
    """
    folder = RunFolder.existing(run)
    sweep = sweep_of(folder)
    stored = storage.open_for_reading(folder)
    begun = {study.study_name: study._study_id for study in stored.get_all_studies()}
    planned = plans(sweep)
    ended_studies = tables.ended_studies(folder)

    def trials_of(study: Study) -> list[FrozenTrial]:
        known = study.id in begun
        return stored.get_all_trials(begun[study.id], deepcopy=False) if known else []

    def promoted_in(study: Study) -> Sequence[dict[str, Value]]:
        known = study.id in begun
        return stored.get_study_user_attrs(begun[study.id]).get(PROMOTED, ()) if known else ()

    trials = max_trials(
        {plan.study: plan.trials for plan in planned.values()},
        sweep.seeds,
        sweep.search.seed_reduction,
        lambda study: trials_of(study) if study.id in ended_studies else None,
        promoted_in,
    )
    own = {study.id: most for study, most in trials.items()}
    most = {name: different_settings(plan.space) for name, plan in planned.items()}
    stopped = stops(stored.get_study_user_attrs(number) for number in begun.values())
    shared = shares(own, most, stopped)
    rows = {study.id: _row(study, trials_of(study), shared[study.id]) for study in trials}
    running = sum(row.running for row in rows.values())
    ended = sum(row.count for row in rows.values())
    asked = sum(row.trials for row in rows.values())
    limits: list[Limit] = []
    closed = set[str]()
    if has_budget(sweep):
        written = tables.read_trials(folder)
        limits, closed = spent(folder, sweep, written), spent_studies(sweep, written)
    left = sum(
        row.running if study in closed else row.trials - row.count for study, row in rows.items()
    )
    driver = _driver(folder, left, running, [limit.key for limit in limits if limit.reached])
    screen = console()
    screen.print(progress_table(sweep.name, rows.values()))
    screen.print(f"{ended} of {asked} trials ended, in {folder.uri}")
    for why in saw_held_out(sweep.search):
        screen.print(f"not the honest protocol, {why}")
    if stopped:
        screen.print(f"studies stopped, as they no longer improved: {len(stopped)}")
    for limit in limits:
        screen.print(str(limit))
    if closed:
        screen.print(f"studies that have spent their search.study_budget: {len(closed)}")
    screen.print(_disk_use(folder))
    screen.print(driver)


def _row(study: Study, trials: Sequence[FrozenTrial], budget: int) -> StudyProgress:
    ended: Counter[str] = Counter()
    running, best = 0, None
    for trial in trials:
        state = state_of(trial)
        if state is not None:
            ended[state] += 1
        running += trial.state == TrialState.RUNNING
        if state == "completed" and trial.values:
            best = trial.values[0] if best is None else max(best, trial.values[0])
    columns = study.dataset, study.algorithm, study.held_out, str(study.seed)
    return StudyProgress(*columns, budget, running, ended, best)


def _disk_use(folder: RunFolder) -> str:
    parts = {name: folder.size(name) for name in (CHECKPOINTS, FOLDS, WEIGHTS)}
    of_these = ", ".join(f"{name} {decimal(size)}" for name, size in parts.items() if size)
    return f"{decimal(folder.size())} on disk" + (f", of it {of_these}" if of_these else "")


def _driver(folder: RunFolder, left: int, running: int, spent: Sequence[str]) -> str:
    """One sentence on who is at work, and what a resume would do. `spent`: keys of budgets."""
    holder = lease.read(folder)
    if holder is not None and holder.alive:
        ago = max(time.time() - holder.beat, 0)
        return f"driven by process {holder.pid} on {holder.host}, last heard of {ago:.0f} s ago"
    if not left:
        return "complete"
    if spent and (WALL_HOURS in spent or not running):
        begun = f", and with {running} trials that were at work" if running else ""
        return f"ended by its budget: `launch` with more {' and '.join(spent)} goes on{begun}"
    gone = "" if holder is None else f"its driver, process {holder.pid} on {holder.host}, is gone; "
    return (
        f"{gone}nobody is at work on it: `python -m search resume {folder.uri}` would continue "
        f"{running} trials and start {0 if spent else left - running}"
    )
