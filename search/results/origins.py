"""Where the settings that a search tried came from, as far as a reader must know."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import pandas as pd

from search.results.plain_sweep import Sweep
from search.results.selection_rules import RULES

DEFAULT = "training-domain"  # DomainBed's honest rule
_TIED = "; the errors over seeds leave out the luck of the search"


def objectives(search: Mapping[str, Any]) -> list[str]:
    """What a search maximized, from the `search` section of a sweep."""
    named = search.get("objective", DEFAULT)
    return [named] if isinstance(named, str) else list(named)


def peeking(search: Mapping[str, Any]) -> list[str]:
    """Its objectives that see the held-out domain: they have the names of selection rules."""
    return [name for name in objectives(search) if RULES[name].peeks]


def main_method(sweeps: Iterable[Sweep]) -> str:
    """The selection method of results where none is named: the one that the search maximized.

    The first objective, if it is that of all these sweeps and does not see the held-out domain;
    else training-domain.
    """
    firsts = {objectives(sweep.get("search") or {})[0] for sweep in sweeps}
    first, *others = firsts
    return DEFAULT if others or RULES[first].peeks else first


def saw_held_out(sweep: Sweep) -> list[str]:
    """Why settings of a run were shaped by labels of held-out domains; empty if they were not."""
    search = sweep.get("search") or {}
    found = []
    for objective in peeking(search):
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


def untried(
    sweep: Sweep, asked: Iterable[Mapping[str, Any]], trials: pd.DataFrame, ended: Container[str]
) -> dict[str, str]:
    """Why studies of a sweep ended without a trial: the seed before had nothing for them.

    `asked`: the study columns of the sweep's studies; `ended`: the names of those that ended.
    """
    if not (sweep.get("search") or {}).get("seed_reduction"):
        return {}
    tried = set(trials["study"])
    seeds = list(sweep["seeds"])
    return {
        study["study"]: f"seed {seeds[seeds.index(study['seed']) - 1]} completed no trial, so no "
        "setting was tried again"
        for study in asked
        if study["study"] in ended and study["study"] not in tried
    }


def _warm_start(search: Mapping[str, Any]) -> Mapping[str, Any]:
    return search.get("warm_start") or {}
