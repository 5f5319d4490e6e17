"""The command `status`: how far a run is, read from its files by any process."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState
from rich.filesize import decimal

from search.checks.load_sweep import sweep_of
from search.driver import gpu_shares
from search.driver.queued_settings import PROMOTED, promoted, settings_to_try
from search.driver.study_record import UNTRAINED, is_frozen, state_of
from search.driver.termination import shares, stops
from search.run import lease, manifest, storage, tables
from search.run.run_folder import CHECKPOINTS, FOLDS, STARTS, WEIGHTS, RunFolder
from search.screen import StudyProgress, console, progress_table
from search.space.ranges import Value, different_settings
from search.study.budgets import WALL_HOURS, Limit, has_budget
from search.study.study import Study, max_trials, previous_study, studies, trials_per_study
from search.study.study_space import study_space
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Sweep


def print_status(run: str, as_json: bool = False) -> None:
    """Prints how far the studies of a run are, and whether a driver works on it.

    as_json: as one document, for programs.

    Raises SteppeError for a run that does not exist.
    """
    folder = RunFolder.existing(run)
    sweep = sweep_of(folder, needed="nothing")
    progress, stopped = _progress(folder, sweep)
    limits: list[Limit] = []
    closed = set[str]()
    if has_budget(sweep.search):
        from search.results.loading import spent, spent_studies

        written = tables.read_trials(folder)
        limits, closed = spent(folder, sweep, written), spent_studies(sweep, written)
    ended = sum(study.count for study in progress.values())
    asked = sum(study.trials for study in progress.values())
    running = sum(study.running for study in progress.values())
    frozen = sum(study.frozen for study in progress.values())
    left = sum(
        study.running if name in closed else study.trials - study.count
        for name, study in progress.items()
    )
    reached = [limit.key for limit in limits if limit.reached]
    shaped, _ = manifest.held_out_labels(folder, sweep.search)
    lines = [f"{ended} of {asked} trials ended, in {folder.uri}"]
    lines += [f"not the honest protocol, {why}" for why in shaped]
    if stopped:
        lines.append(f"studies stopped, as they no longer improved: {stopped}")
    lines += [str(limit) for limit in limits]
    if closed:
        lines.append(f"studies that have spent their search.study_budget: {len(closed)}")
    if sweep.search.objective_over == "seeds":
        later = [own for own in progress.values() if own.seed != str(sweep.seeds[0])]
        waiting = sum(own.trials - own.count - own.running for own in later)
        lines.append(
            f"trials of later seeds: {waiting} wait for the seed before, and are trained if their "
            f"mean may win; {sum(own.untrained for own in later)} ended untrained"
        )
    if frozen:
        lines.append(f"frozen trials, which may be trained further: {frozen}")
    lines += _gpu_shares(folder, sweep)
    lines.append(_disk_use(folder))
    said = _driver(folder, left, running, frozen, reached)
    lines.append(said)
    if as_json:
        print(
            json.dumps(
                {
                    "sweep": sweep.name,
                    "folder": folder.uri,
                    "trials": asked,
                    "ended": ended,
                    "running": running,
                    "frozen": frozen,
                    "left": left,
                    "stopped_studies": stopped,
                    "spent_studies": len(closed),
                    "budget": [{**vars(limit), "reached": limit.reached} for limit in limits],
                    "not_honest": shaped,
                    "bytes": _sizes(folder),
                    "driver": said,
                    "studies": [{"study": name, **vars(own)} for name, own in progress.items()],
                },
                indent=2,
            )
        )
        return
    screen = console()
    screen.print(progress_table(sweep.name, progress.values()))
    for line in lines:
        screen.print(line)


def _progress(folder: RunFolder, sweep: Sweep) -> tuple[dict[str, StudyProgress], int]:
    """The progress of each study by its name, and how many the terminator has stopped."""
    over = by_dataset(sweep)
    planned = {study.id: study for study in studies(sweep)}
    kinds = {(study.dataset, study.algorithm) for study in planned.values()}
    shared = {(name, algorithm): study_space(over[name], algorithm) for name, algorithm in kinds}
    spaces = {study: shared[study.dataset, study.algorithm] for study in planned.values()}
    stored = storage.open_for_reading(folder)
    begun = {study.study_name: study._study_id for study in stored.get_all_studies()}
    ended_studies = tables.ended_studies(folder)

    def trials_of(study: Study) -> list[FrozenTrial]:
        known = study.id in begun
        return stored.get_all_trials(begun[study.id], deepcopy=False) if known else []

    def promoted_in(study: Study) -> Sequence[dict[str, Value]]:
        known = study.id in begun
        return stored.get_study_user_attrs(begun[study.id]).get(PROMOTED, ()) if known else ()

    asked = sweep.search.trials
    first = {study: trials_per_study(asked, space) for study, space in spaces.items()}
    trials = max_trials(first, sweep.seeds, sweep.search.seed_reduction)
    for study in trials if sweep.search.seed_reduction is not None else ():
        earlier = previous_study(study, sweep.seeds)
        if earlier is not None and earlier.id in ended_studies:
            best = promoted(trials_of(earlier))[: trials[study]]
            trials[study] = len(settings_to_try(promoted_in(study), best))
    own = {study.id: count for study, count in trials.items()}
    most = {study.id: different_settings(space) for study, space in spaces.items()}
    stopped = stops(stored.get_study_user_attrs(number) for number in begun.values())
    most_trials = shares(own, most, stopped)
    progress = {
        study.id: _progress_of(study, trials_of(study), most_trials[study.id]) for study in trials
    }
    return progress, len(stopped)


def _progress_of(study: Study, trials: Sequence[FrozenTrial], max_trials: int) -> StudyProgress:
    ended: Counter[str] = Counter()
    running, frozen, untrained, best = 0, 0, 0, None
    for trial in trials:
        state = state_of(trial)
        if state is not None:
            ended[state] += 1
            untrained += bool(trial.user_attrs.get(UNTRAINED))
        frozen += is_frozen(trial)
        running += trial.state == TrialState.RUNNING and not is_frozen(trial)
        if state == "completed" and trial.values:
            best = trial.values[0] if best is None else max(best, trial.values[0])
    columns = study.dataset, study.algorithm, study.held_out, str(study.seed)
    max_trials = max(max_trials, ended.total() + running + frozen)
    return StudyProgress(*columns, max_trials, running, ended, best, frozen, untrained)


def _gpu_shares(folder: RunFolder, sweep: Sweep) -> list[str]:
    """With resources.gpu: auto, what the next trial of each kind gets, by those in the tables."""
    if sweep.resources.gpu != "auto":
        return []
    size = sweep.training.batch_size
    lines = []
    for kind, known in gpu_shares.measured_in(tables.read_trials(folder), size).items():
        choice = gpu_shares.choose([*known.values()], max(own.batch for own in known.values()))
        share = "a whole GPU" if choice.share == 1 else f"1/{round(1 / choice.share)} of a GPU"
        *names, held_out = kind
        several = f", {held_out} domains held out" * (held_out > 1)
        lines.append(f"{', '.join(map(str, names))}{several}: {share} each; a trial {choice.why}")
    return lines


def _disk_use(folder: RunFolder) -> str:
    sizes = _sizes(folder)
    whole = decimal(sizes.pop("run"))
    of_these = ", ".join(f"{name} {decimal(size)}" for name, size in sizes.items() if size)
    return f"{whole} on disk" + (f", of it {of_these}" if of_these else "")


def _sizes(folder: RunFolder) -> dict[str, int]:
    """Bytes of the run, and of those of its folders that may grow large."""
    parts = {name: folder.size(name) for name in (CHECKPOINTS, FOLDS, STARTS, WEIGHTS)}
    return {"run": folder.size(), **parts}


def _driver(folder: RunFolder, left: int, running: int, frozen: int, spent: Sequence[str]) -> str:
    """One sentence: which driver works on the run, or what a resume would do.

    left: trials that have not ended; running, frozen: those of them that have begun. spent: keys of
    budgets that are spent.
    """
    holder = lease.read(folder)
    if holder is not None and holder.alive:
        ago = max(time.time() - holder.beat, 0)
        return f"driven by process {holder.pid} on {holder.host}, last heard of {ago:.0f} s ago"
    if not left:
        return "complete"
    if spent and (WALL_HOURS in spent or not running):
        begun = f", and with {running} trials that were at work" if running else ""
        begun += f", and with {frozen} trials that wait" if frozen else ""
        return f"ended by its budget: `launch` with more {' and '.join(spent)} goes on{begun}"
    gone = "" if holder is None else f"its driver, process {holder.pid} on {holder.host}, is gone; "
    return (
        f"{gone}nobody is at work on it: `python -m search resume {folder.uri}` would continue "
        f"{running + frozen} trials and start {0 if spent else left - running - frozen}"
    )
