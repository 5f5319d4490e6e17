"""Where the settings that a search tried came from, as far as a reader must know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from search.results.plain_sweep import Sweep
from search.results.run_objectives import objectives
from search.sweep.objectives import peeking

_TIED = "; the errors over seeds leave out the luck of the search"


def saw_held_out(sweep: Sweep) -> list[str]:
    """Why settings of a run were shaped by labels of held-out domains; empty if they were not."""
    search = sweep.get("search") or {}
    found = []
    for objective in peeking(objectives(search)):
        found.append(
            f"search.objective: {objective}: the search maximized accuracy on the very domain that "
            "is held out, so all of this is an upper bound and no result"
        )
    if search.get("share") == "domains":
        found.append(
            "search.share: domains: a study is offered settings of studies that trained and "
            "validated on the domain that it holds out"
        )
    if _warm_start(search).get("held_out") == "any":
        found.append(
            "search.warm_start.held_out: any: a study began with settings of studies that may have "
            "trained and validated on the domain that it holds out"
        )
    return found


def about_origins(name: str, sweep: Sweep, trials: pd.DataFrame) -> list[str]:
    """Lines below every table of a run: whether held-out labels shaped what was tried, and what
    else ties its studies to each other or to earlier runs. `trials`: those of the run."""
    search = sweep.get("search") or {}
    notes = [f"{name}: not the honest protocol, {why}" for why in saw_held_out(sweep)]
    runs = _warm_start(search).get("runs")
    if runs:
        notes.append(f"{name}: began with settings of {', '.join(runs)}, whose cost is not in here")
    if search.get("share") == "seeds":
        notes.append(f"{name}: seeds share settings while they search{_TIED}")
    factor = search.get("seed_reduction")
    if factor:
        counts = trials.groupby("seed", observed=True)["number"].nunique()
        listed = ", ".join(f"seed {seed} {counts.get(seed, 0)}" for seed in sweep["seeds"])
        notes.append(
            f"{name}: a seed tries again the best settings of the seed before it, one in {factor} "
            f"(most in a study: {listed}){_TIED}"
        )
    return notes


def _warm_start(search: Mapping[str, Any]) -> Mapping[str, Any]:
    return search.get("warm_start") or {}
