"""How the trials of a run ended, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    groups = lost.groupby(keys, sort=False)["trial"]
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
    trials, resources = run.trials, run.sweep.resources
    ended = set(trials["state"].unique())
    shown = [state for state in STATES if state != FROZEN or FROZEN in ended]
    hours = trials["seconds"].fillna(0).astype(float) / 3600
    on_gpu = trials["device"].notna() & ~trials["device"].isin(["cpu", "mps"])
    gpus = trials["gpu"].fillna(resources.gpus) if "gpu" in trials else resources.gpus
    rows = pd.DataFrame({state: trials["state"] == state for state in shown})
    rows = rows.assign(hours=hours, gpu_hours=(hours * gpus).where(on_gpu, 0.0))

    def told(name: str, sums: Mapping[Any, Any]) -> TrialHours:
        counts = {state: int(sums[state]) for state in shown}
        own = float(sums["hours"])
        return TrialHours(name, counts, own, own * resources.cpu, float(sums["gpu_hours"]))

    keys = [trials["dataset"].astype(str), trials["algorithm"].astype(str)]
    pairs = rows.groupby(keys).sum().to_dict("index")
    several = len(run.datasets) > 1
    by_algorithm = [
        told(f"{dataset}, {algorithm}" if several else algorithm, pairs[dataset, algorithm])
        for dataset in run.datasets
        for algorithm in run.algorithms
        if (dataset, algorithm) in pairs
    ]
    studies = rows.groupby(trials["study"], sort=False).sum().to_dict("index")
    by_study = [told(str(name), sums) for name, sums in studies.items()]
    return told("all", rows.sum().to_dict()), by_algorithm, by_study


def _short(reason: str) -> str:
    return reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} …"
