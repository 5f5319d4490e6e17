"""The trials of a search with two objectives that no other trial of their study beats in both."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from search.errors import SteppeError
from search.results.loading import LoadedRun
from search.sweep.schema import Sweep

VALUES = ["objective", "objective_2"]
_COLUMNS = [
    *("sweep", "dataset", "model", "algorithm", "held_out", "seed", "study"),
    *("trial", "number", "best_step", *VALUES),
]


def pareto(trials: pd.DataFrame, runs: Sequence[LoadedRun]) -> pd.DataFrame:
    """The front of each study: its completed trials, by the first objective, the highest first.

    Columns: those of `trials` up to the two values, which are of the weights at best_step, then the
    hyperparameters that any of these trials has. Raises SteppeError if no search has two
    objectives, or none of its trials is completed.
    """
    names = ", ".join(run.name for run in runs)
    if not any(two_objectives(run.sweep) for run in runs):
        raise SteppeError(
            f"{names}: the search has one objective, so it has one best trial and no front; a "
            "search with search.objective: [training-domain, worst-source-domain] has one"
        )
    done = trials[(trials["state"] == "completed") & trials[VALUES].notna().all(axis=1)]
    if done.empty:
        raise SteppeError(f"{names}: no trial is completed, so there is no front")
    found = done[on_front(done)].sort_values(["study", "objective"], ascending=[True, False])
    used = [name for name in found if str(name).startswith("hp_") and found[name].notna().any()]
    return found[[*_COLUMNS, *used]].reset_index(drop=True)


def two_objectives(sweep: Sweep) -> bool:
    """Whether the search of a sweep has two objectives, so that there is a front."""
    return len(sweep.search.objectives) == 2


def on_front(trials: pd.DataFrame) -> pd.Series:
    """Whether each of these trials is on the front of its study; equal trials share a place."""
    found = pd.Series(False, index=trials.index)
    for _, study in trials.groupby("study"):
        best: tuple[float, float] | None = None
        ordered = study.sort_values(VALUES, ascending=False)
        for trial, *values in ordered[VALUES].itertuples():
            first, second = values
            if best is None or second > best[1] or (first, second) == best:
                best = first, second
                found[trial] = True
    return found
