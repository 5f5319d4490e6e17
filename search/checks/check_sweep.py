"""What is wrong with a checked sweep file as a whole: names, lists, keys that need each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import datasets
from datasets.domain_dataset import members
from search.checks.check_search import check_budgets, check_folds, check_search
from search.checks.check_space import check_space
from search.checks.check_training import (
    check_model,
    check_second_stage,
    check_steps,
    check_training,
)
from search.checks.keys_without_effect import CONDITION_KEYS, keys_without_effect
from search.errors import way_out
from search.space import algorithm_names
from search.study.study import fewest_sources, held_out_domains
from search.study.study_space import averaging_of
from search.sweep.config_errors import KeyPath, Problem, show
from search.sweep.fields import written
from search.sweep.per_dataset import (
    DatasetSweep,
    by_dataset,
    path_in_dataset,
    path_in_file,
    training_overrides,
)
from search.sweep.schema import Sweep
from search.sweep.training_keys import Training
from training.algorithms import compares_domains


def check(
    sweep: Sweep, broken: Sequence[KeyPath] = (), *, idle_keys: bool = True, model: bool = True
) -> list[Problem]:
    """All problems of a sweep whose keys are each valid by themselves.

    broken: keys that were not valid, and stand at their defaults here; nothing that depends on
    them is checked. idle_keys: whether a key without effect is a problem. model: whether the
    model is looked at.
    """
    wrong: dict[Problem, list[str]] = {}
    idle: dict[KeyPath, list[Problem]] = {}
    parts = by_dataset(sweep)
    for name, part in parts.items():
        broken_here = [path_in_dataset(sweep, name, path) for path in broken]
        for problem in _check_dataset(part, broken_here, model):
            wrong.setdefault(_in_file(sweep, name, problem), []).append(name)
        for problem in _idle_keys(part, broken_here) if idle_keys else ():
            here = _in_file(sweep, name, problem)
            idle.setdefault(here.path, []).append(here)
    problems = [*_overridden_keys(sweep), *_method_per_dataset(sweep)]
    for problem, names in wrong.items():
        for_all = len(names) == len(parts) or problem.path[0] == "datasets"
        text = problem.text if for_all else f"{problem.text} ({', '.join(names)})"
        problems.append(Problem(problem.path, text))
    # A key that acts for one dataset is not without effect.
    problems += [found[0] for path, found in idle.items() if len(found) == _readers(sweep, path)]
    if not problems and not broken:
        problems += check_budgets(sweep)
    return [problem for problem in problems if problem.path not in broken]


def _check_dataset(sweep: DatasetSweep, broken: Sequence[KeyPath], model: bool) -> list[Problem]:
    """All problems of the part of a sweep that one dataset has."""
    problems = [*_dataset_name(sweep), *_repeated(sweep), *check_training(sweep)]
    if _valid(broken, ("training", "steps")):
        problems += check_steps(sweep)
    if model and _valid(broken, ("model",), ("dataset", "size")):
        problems += check_model(sweep)
    keys = ("objective", "allow_oracle", "sampler", "scheduler")
    if _valid(broken, *(("search", key) for key in keys)):
        problems += check_search(sweep.search)
    domains = _domains(sweep) if _valid(broken, ("dataset",)) else []
    algorithms = _unknown_algorithms(sweep)
    problems += domains + algorithms
    if algorithms or not _valid(broken, ("algorithms",)):
        return problems
    problems += [*_equal_algorithms(sweep), *check_second_stage(sweep)]
    if not domains and _valid(broken, ("dataset",)):
        problems += [*_too_few_sources(sweep), *check_folds(sweep)]
    if _valid(broken, ("search", "space"), ("training", "steps")):
        problems += check_space(sweep)
    return problems


def _idle_keys(sweep: DatasetSweep, broken: Sequence[KeyPath]) -> list[Problem]:
    if _unknown_algorithms(sweep) or not _valid(broken, ("algorithms",), *CONDITION_KEYS):
        return []
    return list(keys_without_effect(sweep))


def _valid(broken: Sequence[KeyPath], *keys: KeyPath) -> bool:
    """Whether none of the keys is broken, nor one inside of them."""
    return not any(path[: len(key)] == key for path in broken for key in keys)


def _in_file(sweep: Sweep, name: str, problem: Problem) -> Problem:
    return Problem(path_in_file(sweep, name, problem.path), problem.text)


def _readers(sweep: Sweep, path: KeyPath) -> int:
    """How many datasets read this key, as they do not override it."""
    if not sweep.datasets or path[0] == "datasets":
        return 1
    return sum(
        path[0] != "training" or path[1] not in training_overrides(given)
        for given in sweep.datasets.values()
    )


def _overridden_keys(sweep: Sweep) -> Iterator[Problem]:
    """Keys that every dataset overrides."""
    if not sweep.datasets:
        return
    for key, field in Training.model_fields.items():
        value = getattr(sweep.training, key)
        if value != field.default and not _readers(sweep, ("training", key)):
            yield Problem(
                ("training", key),
                f"is {show(value)} but has no effect: each dataset has its own; remove it",
            )
    if sweep.held_out != "all" and all(
        given.held_out is not None for given in sweep.datasets.values()
    ):
        yield Problem(("held_out",), "has no effect: each dataset has its own; remove it")


# Keys that tell a method, and what a row of the tables would mix if they differed by dataset.
MIXED = {
    "optimizer": "genie here and another optimizer there; {same}",
    "retrain": "two stages here and one there; {same}",
    "averaging": "one average here and another there; {same}, or list algorithms such as SAGM and "
    "SAGM+SWAD",
}


def _method_per_dataset(sweep: Sweep) -> Iterator[Problem]:
    """A method that differs by dataset, so that a row of the tables would mix two."""
    for name, given in sweep.datasets.items():
        own = training_overrides(given)
        for key, mixed in MIXED.items():
            optimizers = (sweep.training.optimizer, own.get("optimizer"))
            if key in own and (key != "optimizer" or "genie" in optimizers):
                text = mixed.format(same=f"set training.{key} for all datasets")
                path = ("datasets", name, "training", key)
                yield Problem(path, f"would give a row of the tables {text}")


def _dataset_name(sweep: DatasetSweep) -> Iterator[Problem]:
    name, known = sweep.dataset.name, datasets.DATASETS
    if name not in known:
        yield Problem(("dataset", "name"), f"is {show(name)}; {way_out(name, known)}")


def _unknown_algorithms(sweep: DatasetSweep) -> list[Problem]:
    problems = []
    for index, name in enumerate(sweep.algorithms):
        try:
            algorithm_names.parts(name)
        except ValueError as error:
            problems.append(Problem(("algorithms", index), f"cannot be used: {error}"))
    return problems


def _equal_algorithms(sweep: DatasetSweep) -> Iterator[Problem]:
    seen: dict[tuple[frozenset[str], str], str] = {}
    for index, name in enumerate(sweep.algorithms):
        if name not in sweep.trained:
            continue
        meaning = frozenset(algorithm_names.parts(name)), averaging_of(sweep, name)
        other = seen.setdefault(meaning, name)
        if other != name:
            yield Problem(
                ("algorithms", index), f"is {show(name)}, the same as {other}; remove one"
            )


def _repeated(sweep: DatasetSweep) -> Iterator[Problem]:
    held_out = () if sweep.held_out == "all" else sweep.held_out
    lists: dict[str, tuple[object, ...]] = {
        "algorithms": sweep.algorithms,
        "held_out": held_out,
        "seeds": sweep.seeds,
    }
    for key, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                shown = written([str(value)])[0] if key == "held_out" else value
                yield Problem((key, index), f"is {show(shown)}, which the list already has")


def _domains(sweep: DatasetSweep) -> list[Problem]:
    entry = datasets.DATASETS.get(sweep.dataset.name)
    if entry is None:
        return []
    root = sweep.dataset.root
    if entry.needs_root and root is None:
        return [Problem(("dataset", "root"), f"is missing; {sweep.dataset.name} lies in a folder")]
    if sweep.dataset.originals and not entry.resizes:
        text = f"is {sweep.dataset.originals}, but {sweep.dataset.name} has no files of images"
        return [Problem(("dataset", "originals"), f"{text}: leave it out")]
    if sweep.dataset.size is not None and not entry.resizes:
        size = ("dataset", "size")
        return [Problem(size, f"is {sweep.dataset.size}, but {sweep.dataset.name} has one size")]
    try:
        about = datasets.describe(sweep.dataset.name, root)
    except (FileNotFoundError, datasets.DatasetError) as error:
        return [Problem(("dataset", "root"), f"is {show(str(root))}: {error}")]
    return list(_held_out(sweep, about.domains, about.held_out or about.domains))


def _held_out(
    sweep: DatasetSweep, domains: Sequence[str], possible: Sequence[str]
) -> Iterator[Problem]:
    """What cannot be held out of these domains. possible: those that are made for it."""
    unknown = [
        Problem(
            ("held_out", index),
            f"is {show(name)}, no domain of {sweep.dataset.name}; {way_out(name, domains)}"
            if name not in domains
            else f"is {show(name)}, but {sweep.dataset.name} is made for holding out "
            f"{' and '.join(possible)} alone; write all",
        )
        for index, held_out in enumerate(held_out_domains(sweep))
        for name in members(held_out)
        if name not in possible
    ]
    yield from unknown
    if len(domains) < 2:
        yield Problem(
            ("held_out",),
            f"leaves no source domain to train on, as {sweep.dataset.name} has only "
            f"{len(domains)}; choose a dataset with more",
        )
    elif not unknown and fewest_sources(sweep) < 1:
        yield Problem(
            ("held_out",),
            f"leaves no source domain to train on, as it has a set of all {len(domains)} domains "
            f"of {sweep.dataset.name}; take one out of it",
        )


def _too_few_sources(sweep: DatasetSweep) -> Iterator[Problem]:
    if sweep.dataset.name not in datasets.DATASETS:
        return
    sources = fewest_sources(sweep)
    for index, name in enumerate(sweep.algorithms):
        if sources < 2 and compares_domains(algorithm_names.split(name)[0]):
            yield Problem(
                ("algorithms", index),
                f"is {show(name)}, which compares source domains and needs at least two, but "
                f"{sweep.dataset.name} leaves {sources}; remove it, hold out fewer domains at once "
                "or choose another dataset",
            )
