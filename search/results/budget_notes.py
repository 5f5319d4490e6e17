"""Why studies have fewer trials than were asked for, or more: budgets and stopped studies."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from search.results.plain_sweep import Sweep
from search.run import wall_clock
from search.run.run_folder import RunFolder
from search.study.spending import BUDGET, STUDY_BUDGET, Cost, Limit, any_limit, costs, limits


def spent(folder: RunFolder, sweep: Sweep, trials: pd.DataFrame) -> list[Limit]:
    """The limits of a run's budget, and what its trials in the tables and its drivers spent."""
    budget = (sweep.get("search") or {}).get("budget") or {}
    if not any_limit(budget):
        return []
    cost = sum(costs(trials).values(), Cost())
    hours = 0.0 if budget.get("wall_hours") is None else wall_clock.read(folder) / 3600
    return limits(BUDGET, budget, sweep["resources"], cost, hours)


def limited(sweep: Sweep) -> bool:
    """Whether a run has any budget."""
    search = sweep.get("search") or {}
    return any(any_limit(search.get(key) or {}) for key in ("budget", "study_budget"))


def spent_studies(sweep: Sweep, trials: pd.DataFrame) -> set[str]:
    """The studies of a run that have spent what each may."""
    budget = (sweep.get("search") or {}).get("study_budget") or {}
    return {
        study
        for study, cost in costs(trials).items()
        if any(limit.reached for limit in limits(STUDY_BUDGET, budget, sweep["resources"], cost))
    }


def about_ending(
    name: str,
    sweep: Sweep,
    studies: Iterable[Mapping[str, Any]],
    unfinished: Container[str],
    trials: pd.DataFrame,
    budget: Sequence[Limit],
) -> list[str]:
    """Lines below every table of a run that a budget ended, or whose studies share their trials.

    `studies`: the study columns of the table; `unfinished`: those of the run that have not ended;
    `trials`: the run's; `budget` as `spent` has it.
    """
    search = sweep.get("search") or {}
    notes = [f"{name}: ended by its budget, {limit}" for limit in budget if limit.reached]
    own = any_limit(search.get("study_budget") or {})
    if not (notes or own or search.get("terminator", "none") != "none"):
        return notes
    had = trials["study"].value_counts()
    counts: dict[str, list[int]] = {}
    for study in studies:
        if study["study"] in unfinished and not notes:
            continue  # it is going on
        counts.setdefault(study["algorithm"], []).append(int(had.get(study["study"], 0)))
    if any(count != search["trials"] for those in counts.values() for count in those):
        listed = ", ".join(f"{algorithm} {_span(those)}" for algorithm, those in counts.items())
        of_first = " of the first seed" if search.get("seed_reduction") else ""
        asked = f"{search['trials']} asked for{of_first}{_why(search, own)}"
        notes.append(f"{name}: trials per study, {asked}: {listed}")
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


def _why(search: Mapping[str, Any], own: bool) -> str:
    keys = ["search.study_budget"] * own
    keys += ["search.terminator"] * (search.get("terminator", "none") != "none")
    return f" ({' and '.join(keys)})" if keys else ""


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
