"""What the run cost: trials and hours, in all and by study."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from search.report.run import Run
from search.run.tables import STATES


@dataclass(frozen=True)
class Cost:
    """Trials by how they ended, and hours; `gpu_hours` counts shares of a GPU as shares."""

    name: str
    states: dict[str, int]
    hours: float
    cpu_hours: float
    gpu_hours: float


def costs(run: Run) -> tuple[Cost, list[Cost], list[Cost]]:
    """Of the run, of each (dataset, algorithm), and of each study that has begun."""
    whole = _cost("all", run.trials, run)
    pairs = run.trials.groupby(["dataset", "algorithm"], sort=False, observed=True)
    groups = dict(list(pairs))
    order = [(d, a) for d in run.datasets for a in run.algorithms if (d, a) in groups]
    several = len(run.datasets) > 1
    by_algorithm = [
        _cost(f"{dataset}, {algorithm}" if several else algorithm, groups[dataset, algorithm], run)
        for dataset, algorithm in order
    ]
    studies = run.trials.groupby("study", sort=False, observed=True)
    return whole, by_algorithm, [_cost(str(name), rows, run) for name, rows in studies]


def _cost(name: str, trials: pd.DataFrame, run: Run) -> Cost:
    resources = run.sweep["resources"]
    states = trials["state"].value_counts()
    hours = float(trials["seconds"].fillna(0).sum()) / 3600
    on_gpu = trials["device"].notna() & ~trials["device"].isin(["cpu", "mps"])
    gpu_hours = float(trials.loc[on_gpu, "seconds"].fillna(0).sum()) / 3600 * resources["gpu"]
    counts = {state: int(states.get(state, 0)) for state in STATES}
    return Cost(name, counts, hours, hours * resources["cpu"], gpu_hours)
