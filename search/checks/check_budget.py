"""Budgets and a terminator that could never act."""

from __future__ import annotations

from collections.abc import Iterator

from search.study.seed_promotion import max_trials
from search.study.stagnation import patience, startup_trials
from search.study.study import studies, trials_per_study
from search.study.study_space import study_space
from search.sweep.config_errors import Problem
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Sweep


def check_budget(sweep: Sweep) -> Iterator[Problem]:
    """Of a sweep in which nothing else is wrong."""
    search = sweep.search
    for key in ("budget", "study_budget"):
        if getattr(search, key).gpu_hours is not None and not sweep.resources.gpu:
            yield Problem(
                ("search", key, "gpu_hours"),
                "has no effect: resources.gpu is 0; limit cpu_hours, or passes",
            )
    for name in type(search.study_budget).model_fields:
        own, all_ = getattr(search.study_budget, name), getattr(search.budget, name)
        if own is not None and all_ is not None and own >= all_:
            yield Problem(
                ("search", "study_budget", name),
                f"is {own:g} but has no effect: the whole sweep may spend {all_:g}; remove it",
            )
    parts = by_dataset(sweep)
    first = {
        study: trials_per_study(search.trials, study_space(parts[study.dataset], study.algorithm))
        for study in studies(sweep)
    }
    reduced = max_trials(first, sweep.seeds, search.seed_reduction, lambda _: None, lambda _: ())
    trials = sum(reduced.values())
    if search.budget.trials is not None and search.budget.trials >= trials:
        yield Problem(
            ("search", "budget", "trials"),
            f"is {search.budget.trials} but has no effect: the sweep has {trials}; remove it",
        )
    if search.terminator != "none":
        yield from _terminator(sweep)


def _terminator(sweep: Sweep) -> Iterator[Problem]:
    search, key = sweep.search, ("search", "terminator")
    if search.sampler == "grid":
        yield Problem(key, "has no effect: a grid visits all its points; remove it")
        return
    if search.seed_reduction is not None:
        text = "does not go with search.seed_reduction, under which later seeds try what is given"
        yield Problem(key, f"{text} to them; remove one")
        return
    least = startup_trials(search) + patience(search)
    if least >= search.trials:
        random = f"{startup_trials(search)} at random and " if startup_trials(search) else ""
        yield Problem(
            key,
            f"has no effect: no study of {search.trials} trials would be stopped before it had "
            f"tried {random}search.patience, {patience(search)}, without a better one; lower that, "
            "or remove it",
        )
