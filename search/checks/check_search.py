"""What is wrong with the section `search` of a sweep, apart from its space."""

from __future__ import annotations

from collections.abc import Iterator

import datasets
from search.space import algorithm_names
from search.study import samplers
from search.study.folds import makes_folds
from search.study.study import fewest_sources, max_trials, studies, trials_per_study
from search.study.study_space import averaging_of, study_space
from search.sweep.config_errors import Problem, show
from search.sweep.objectives import LEAVE_ONE_DOMAIN_OUT, oracles
from search.sweep.per_dataset import DatasetSweep, by_dataset
from search.sweep.schema import Sweep
from search.sweep.search_keys import FREEZE_THAW, WISE_FT, Search
from search.sweep.training_keys import Training
from training.algorithms import compares_domains

# Keys that carry the best settings of one study to another, which one objective must tell.
_CARRY_SETTINGS = ("warm_start", "share", "seed_reduction", "objective_over")


def check_search(search: Search) -> Iterator[Problem]:
    """Keys of the section that exclude each other."""
    if oracles(search.objectives) and not search.allow_oracle:
        yield Problem(
            ("search", "objective"),
            f"is {show(oracles(search.objectives)[0])}, which sees the held-out domain, so that "
            "the search finds an upper bound and no result; choose training-domain, or set "
            "search.allow_oracle: true, and every table says so",
        )
    if search.compare_at == "passes" and search.scheduler == "median":
        yield Problem(
            ("search", "compare_at"),
            "is passes, but median compares trials at exactly the same cost, which trials with "
            "different passes rarely reach; choose the scheduler asha or hyperband",
        )
    if search.combine:
        yield from _combined(search)
    if len(search.objectives) > 1:
        yield from _two_objectives(search)
    elif search.objective_over == "seeds":
        yield from _over_seeds(search)


def _over_seeds(search: Search) -> Iterator[Problem]:
    """Keys that look at the studies of seeds one by one, where settings are compared over seeds."""
    defaults, kept = Search.model_fields, search.keep_weights
    not_with = {
        "share": "a setting has the same trial number with each seed",
        "seed_reduction": "it has all settings that may win tried with all seeds",
        "terminator": "a study of one seed does not know how its settings do with others",
        "study_budget": "a setting would be trained with some of the seeds; limit search.budget",
        "combine": "the networks of a study are ranked by its own seed",
    }
    wrong = {
        name: f"{why}; remove one"
        for name, why in not_with.items()
        if getattr(search, name) != defaults[name].default
    }
    if search.budget.trials is not None:
        wrong["budget.trials"] = "settings that cannot win end without being trained; limit passes"
    if search.scheduler == FREEZE_THAW:
        wrong[f"scheduler: {FREEZE_THAW}"] = (
            "that ends what cannot be the best with one seed; choose asha or none"
        )
    if kept in ("best", "last") or isinstance(kept, int):
        wrong[f"keep_weights: {kept}"] = (
            "the best trial of a study may have another setting than the best mean; choose all or "
            "none"
        )
    for name, why in wrong.items():
        text = f"is seeds, which does not go with search.{name}: {why}"
        yield Problem(("search", "objective_over"), text)


def _combined(search: Search) -> Iterator[Problem]:
    """Keys under which there would be nothing to combine."""
    least = 1 if search.combine == (WISE_FT,) else 2  # networks of a study
    most = search.most_kept
    if LEAVE_ONE_DOMAIN_OUT in search.objectives:
        why = (
            f"under {LEAVE_ONE_DOMAIN_OUT} other runs than those whose weights could be kept "
            "choose; choose another objective, or remove it"
        )
    elif search.trials < least:
        why = (
            f"search.trials: {search.trials} leaves no two networks of a study; raise it, or "
            "remove search.combine"
        )
    elif search.keep_weights == "last" or (most is not None and most < least):
        networks = "no two networks" if least > 1 else "no selected network"
        why = (
            f"search.keep_weights: {search.keep_weights} leaves {networks} of a study; choose all, "
            f"or a number from {least}"
        )
    elif oracles(search.objectives):
        why = (
            f"under {show(oracles(search.objectives)[0])} the held-out domain chooses the weights "
            "that are kept; choose another objective, or remove it"
        )
    else:
        return
    yield Problem(("search", "combine"), f"is {show(list(search.combine))}, but {why}")


def _two_objectives(search: Search) -> Iterator[Problem]:
    """Keys that need one objective, which ranks trials."""
    if LEAVE_ONE_DOMAIN_OUT in search.objectives:
        yield Problem(
            ("search", "objective"),
            f"has {LEAVE_ONE_DOMAIN_OUT} among two, whose value is of other weights than another "
            "objective's; name it alone",
        )
    wrong = {}
    if search.sampler in samplers.ONE_OBJECTIVE:
        others = ", ".join(name for name in samplers.SAMPLERS if name not in samplers.ONE_OBJECTIVE)
        why = f"cannot search for two objectives; choose one of {others}"
        wrong["sampler"] = f"is {show(search.sampler)}, which {why}"
    if search.scheduler != "none":
        why = "compares trials by one objective, and the search has two; remove it"
        wrong["scheduler"] = f"is {show(search.scheduler)}, which {why}"
    for key in _CARRY_SETTINGS:
        if getattr(search, key) != Search.model_fields[key].default:
            wrong[key] = (
                "needs one objective to say which settings are the best, and search.objective "
                "lists two; remove one of them"
            )
    for key, why in wrong.items():
        yield Problem(("search", key), why)


def check_folds(sweep: DatasetSweep) -> Iterator[Problem]:
    """What leave-one-domain-out cross-validation cannot be combined with.

    The algorithms must exist.
    """
    if not makes_folds(sweep.search) or sweep.dataset.name not in datasets.DATASETS:
        return
    name = sweep.dataset.name
    sources = fewest_sources(sweep)
    if sources < 2:
        yield Problem(
            ("search", "objective"),
            f"is {LEAVE_ONE_DOMAIN_OUT}, whose folds leave out a source domain and train on the "
            f"others, but {name} has {sources}; use training-domain, hold out fewer domains at "
            "once or choose another dataset",
        )
    for index, algorithm in enumerate(sweep.algorithms):
        parts, own_average = algorithm_names.split(algorithm)
        if own_average is not None:
            yield Problem(
                ("algorithms", index),
                f"is {show(algorithm)}, and {averaging_of(sweep, algorithm)} has one result at the "
                f"end of a run; the objective {LEAVE_ONE_DOMAIN_OUT} compares folds step by step; "
                "remove it",
            )
        if sources == 2 and compares_domains(parts):
            yield Problem(
                ("algorithms", index),
                f"is {show(algorithm)}, which compares source domains and needs at least two, but "
                f"a fold of {LEAVE_ONE_DOMAIN_OUT} on {name} trains on 1; remove it or choose "
                "another objective",
            )
    for key, why in _without_folds(sweep.training).items():
        yield Problem(("training", key), f"is {show(getattr(sweep.training, key))}, {why}")
    if sweep.search.keep_weights not in ("none", "last") and not sweep.search.combine:
        yield Problem(
            ("search", "keep_weights"),
            f"is {show(sweep.search.keep_weights)}, which keeps the weights of the best "
            f"training-domain validation, not those that {LEAVE_ONE_DOMAIN_OUT} selects; choose "
            "last, or remove it",
        )


def _without_folds(training: Training) -> dict[str, str]:
    """Why keys of the training do not go with folds, which are compared step by step."""
    why = {}
    by_step = f"{LEAVE_ONE_DOMAIN_OUT} compares folds step by step; remove one of the two"
    if training.averaging != "none":
        why["averaging"] = f"which has one result at the end of a run; {by_step}"
    if training.retrain != "none":
        why["retrain"] = f"whose second stage follows a whole run; {by_step}"
    if training.lr_schedule == "plateau":
        why["lr_schedule"] = (
            "which follows the validation of the source domains; a fold of "
            f"{LEAVE_ONE_DOMAIN_OUT} is scored on others; choose another schedule"
        )
    if training.flatness != "none":
        why["flatness"] = (
            "which is measured where training-domain validation is best, not where "
            f"{LEAVE_ONE_DOMAIN_OUT} looks; remove it"
        )
    return why


def check_budgets(sweep: Sweep) -> Iterator[Problem]:
    """Budgets and a terminator that could never act; nothing else may be wrong with the sweep."""
    search = sweep.search
    for key in ("budget", "study_budget"):
        if getattr(search, key).gpu_hours is None:
            continue
        why = "has no effect: resources.gpu is 0" if not sweep.resources.gpus else ""
        if sweep.resources.gpu == "auto":
            why = "is not counted with resources.gpu: auto, where shares differ"
        if why:
            yield Problem(("search", key, "gpu_hours"), f"{why}; limit cpu_hours, or passes")
    for name in type(search.study_budget).model_fields:
        of_study, of_sweep = getattr(search.study_budget, name), getattr(search.budget, name)
        if of_study is not None and of_sweep is not None and of_study >= of_sweep:
            yield Problem(
                ("search", "study_budget", name),
                f"is {of_study:g} but has no effect: the whole sweep may spend {of_sweep:g}; "
                "remove it",
            )
    trials = _trials_of(sweep)
    if search.budget.trials is not None and search.budget.trials >= trials:
        yield Problem(
            ("search", "budget", "trials"),
            f"is {search.budget.trials} but has no effect: the sweep has {trials}; remove it",
        )
    if search.terminator != "none":
        yield from _terminator(search)


def _trials_of(sweep: Sweep) -> int:
    """How many trials a sweep has without budgets."""
    search, parts = sweep.search, by_dataset(sweep)
    first = {
        study: trials_per_study(search.trials, study_space(parts[study.dataset], study.algorithm))
        for study in studies(sweep)
    }
    return sum(max_trials(first, sweep.seeds, search.seed_reduction).values())


def _terminator(search: Search) -> Iterator[Problem]:
    startup, more = samplers.grace_trials(search), samplers.patience(search)
    if search.sampler == "grid":
        why = "has no effect: a grid visits all its points; remove it"
    elif search.seed_reduction is not None:
        why = (
            "does not go with search.seed_reduction, under which later seeds try the settings that "
            "they are given; remove one"
        )
    elif startup + more >= search.trials:
        random = f"{startup} at random and " if startup else ""
        why = (
            f"has no effect: no study of {search.trials} trials would be stopped before it had "
            f"tried {random}search.patience, {more}, without a better one; lower that, or remove it"
        )
    else:
        return
    yield Problem(("search", "terminator"), why)
