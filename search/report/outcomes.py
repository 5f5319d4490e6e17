"""How the trials of a run ended, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from search.report.reported_run import ReportedRun
from search.run.columns import FROZEN, STATES

MOST_FAILURES = 100
_LONGEST = 600  # characters of a reason


@dataclass(frozen=True)
class Failure:
    """Trials of an algorithm that ended alike; `example` is one of them."""

    dataset: str
    algorithm: str
    state: str
    reason: str
    trials: int
    example: str


@dataclass(frozen=True)
class TrialHours:
    """Trials by how they ended, and hours; `gpu_hours` counts a share of a GPU as a share."""

    name: str
    states: dict[str, int]
    hours: float
    cpu_hours: float
    gpu_hours: float


def failures(trials: pd.DataFrame) -> tuple[list[Failure], str]:
    """Failed and diverged trials, the most frequent first, and what was left out if much is."""
    lost = trials[trials["state"].isin(["failed", "diverged"])]
    lost = lost.assign(reason=lost["reason"].fillna("no reason recorded"))
    keys = ["state", "dataset", "algorithm", "reason"]
    groups = lost.groupby(keys, sort=False, observed=True)["trial"]
    found = [
        Failure(
            str(dataset), str(algorithm), str(state), _short(str(reason)), len(rows), rows.iloc[0]
        )
        for (state, dataset, algorithm, reason), rows in groups
    ]
    found.sort(key=lambda failure: (failure.state != "failed", -failure.trials))
    hidden = len(found) - MOST_FAILURES
    told = f"{hidden} more kinds of failure are in the table `trials`." if hidden > 0 else ""
    return found[:MOST_FAILURES], told


def trial_hours(run: ReportedRun) -> tuple[TrialHours, list[TrialHours], list[TrialHours]]:
    """Of the run, of each (dataset, algorithm), and of each study that has begun."""
    whole = _hours("all", run.trials, run)
    pairs = run.trials.groupby(["dataset", "algorithm"], sort=False, observed=True)
    groups = dict(list(pairs))
    order = [(d, a) for d in run.datasets for a in run.algorithms if (d, a) in groups]
    several = len(run.datasets) > 1
    by_algorithm = [
        _hours(f"{dataset}, {algorithm}" if several else algorithm, groups[dataset, algorithm], run)
        for dataset, algorithm in order
    ]
    studies = run.trials.groupby("study", sort=False, observed=True)
    return whole, by_algorithm, [_hours(str(name), rows, run) for name, rows in studies]


def _hours(name: str, trials: pd.DataFrame, run: ReportedRun) -> TrialHours:
    resources = run.sweep.resources
    states = trials["state"].value_counts()
    hours = float(trials["seconds"].fillna(0).sum()) / 3600
    on_gpu = trials["device"].notna() & ~trials["device"].isin(["cpu", "mps"])
    gpus = trials["gpu"].fillna(resources.gpus) if "gpu" in trials else resources.gpus
    gpu_hours = float((trials["seconds"].fillna(0) * gpus)[on_gpu].sum()) / 3600
    shown = [state for state in STATES if state != FROZEN or FROZEN in set(run.trials["state"])]
    counts = {state: int(states.get(state, 0)) for state in shown}
    return TrialHours(name, counts, hours, hours * resources.cpu, gpu_hours)


def _short(reason: str) -> str:
    return reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} …"
