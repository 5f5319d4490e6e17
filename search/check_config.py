"""What spans several keys of a sweep file: names that exist, ranges that fit, keys that act."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import datasets
import models
from search.check_space import check_space
from search.config import Sweep
from search.nearest import way_out
from search.problems import Path, Problem, show
from search.studies import held_out_domains
from training.algorithms import compares_domains, hyperparameters, parse

# Keys that decide whether others act.
SWITCHES: tuple[Path, ...] = (
    ("training", "optimizer"),
    ("training", "rho_schedule"),
    ("search", "sampler"),
    ("search", "scheduler"),
)


def check(sweep: Sweep, broken: Sequence[Path] = ()) -> list[Problem]:
    """Everything wrong with a sweep whose keys are each right by themselves.

    broken: keys that were not, and stand at their defaults here; what depends on them is left out.
    """

    def whole(*keys: Path) -> bool:
        return not any(path[: len(key)] == key for path in broken for key in keys)

    problems = [*_names(sweep), *_repeated(sweep), *_resources(sweep)]
    if whole(("training", "steps")):
        problems += _steps(sweep)
    domains = _domains(sweep) if whole(("dataset",)) else []
    algorithms = _unusable(sweep)
    problems += domains + algorithms
    if not algorithms and whole(("algorithms",)):
        problems += _same(sweep)
        if not domains and whole(("dataset",)):
            problems += _too_few_sources(sweep)
        if whole(("search", "space"), ("training", "steps")):
            problems += check_space(sweep)
        if whole(*SWITCHES):
            problems += _idle(sweep)
    return [problem for problem in problems if problem.path not in broken]


def _names(sweep: Sweep) -> Iterator[Problem]:
    for section, name, known in (
        ("dataset", sweep.dataset.name, datasets.DATASETS),
        ("model", sweep.model.name, models.MODELS),
    ):
        if name not in known:
            yield Problem((section, "name"), f"is {show(name)}; {way_out(name, known)}")


def _unusable(sweep: Sweep) -> list[Problem]:
    problems = []
    for index, name in enumerate(sweep.algorithms):
        try:
            parse(name)
        except ValueError as error:
            problems.append(Problem(("algorithms", index), f"cannot be used: {error}"))
    return problems


def _same(sweep: Sweep) -> Iterator[Problem]:
    seen: dict[frozenset[str], str] = {}
    for index, name in enumerate(sweep.algorithms):
        other = seen.setdefault(frozenset(parse(name)), name)
        if other != name:
            yield Problem(
                ("algorithms", index), f"is {show(name)}, the same as {other}; remove one"
            )


def _repeated(sweep: Sweep) -> Iterator[Problem]:
    held_out = () if sweep.held_out == "all" else sweep.held_out
    lists: dict[str, tuple[object, ...]] = {
        "algorithms": sweep.algorithms,
        "held_out": held_out,
        "seeds": sweep.seeds,
    }
    for key, values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                yield Problem((key, index), f"is {show(value)}, which the list already has")


def _domains(sweep: Sweep) -> list[Problem]:
    if sweep.dataset.name not in datasets.DATASETS:
        return []
    domains = datasets.describe(sweep.dataset.name).domains
    problems = [
        Problem(
            ("held_out", index),
            f"is {show(name)}, no domain of {sweep.dataset.name}; {way_out(name, domains)}",
        )
        for index, name in enumerate(held_out_domains(sweep))
        if name not in domains
    ]
    if len(domains) < 2:
        problems.append(
            Problem(
                ("held_out",),
                f"leaves no source domain to train on, as {sweep.dataset.name} has only "
                f"{len(domains)}; choose a dataset with more",
            )
        )
    return problems


def _too_few_sources(sweep: Sweep) -> Iterator[Problem]:
    if sweep.dataset.name not in datasets.DATASETS:
        return
    sources = len(datasets.describe(sweep.dataset.name).domains) - 1
    for index, name in enumerate(sweep.algorithms):
        if sources < 2 and compares_domains(name):
            yield Problem(
                ("algorithms", index),
                f"is {show(name)}, which compares source domains and needs at least two, but "
                f"{sweep.dataset.name} leaves {sources}; remove it or choose another dataset",
            )


def _steps(sweep: Sweep) -> Iterator[Problem]:
    training, search = sweep.training, sweep.search
    for path, value, below in (
        (("training", "evaluate_every"), training.evaluate_every, False),
        (("training", "rho_warmup"), training.rho_warmup, True),
        (("search", "grace_steps"), search.grace_steps, False),
    ):
        if value is None or value < training.steps or (value == training.steps and not below):
            continue
        section = getattr(sweep, path[0])
        default = "" if path[1] in section.model_fields_set else " (its default)"
        bound = "below" if below else "at most"
        yield Problem(
            path, f"is {value}{default}; it must be {bound} training.steps, {training.steps}"
        )


def _resources(sweep: Sweep) -> Iterator[Problem]:
    gpu = sweep.resources.gpu
    if gpu > 1 and gpu != int(gpu):
        yield Problem(
            ("resources", "gpu"), f"is {gpu:g}; it must be a share up to 1 or a whole number"
        )


def _idle(sweep: Sweep) -> Iterator[Problem]:
    """Keys that differ from their defaults where nothing reads them."""
    training, search = sweep.training, sweep.search
    climbs = any("rho" in hyperparameters(name) for name in sweep.algorithms)
    no_climb = "no listed algorithm climbs"
    for path, acts, reason in (
        (("training", "momentum"), training.optimizer == "sgd", "only sgd has a momentum"),
        (("training", "rho_schedule"), climbs, no_climb),
        (("training", "rho_warmup"), climbs, no_climb),
        (("training", "bn_second_pass"), climbs, no_climb),
        (
            ("training", "rho_floor"),
            climbs and training.rho_schedule != "constant",
            no_climb if not climbs else "a constant rho does not fall",
        ),
        (
            ("search", "reduction_factor"),
            search.scheduler in ("asha", "hyperband"),
            "only asha and hyperband use it",
        ),
        (("search", "grace_steps"), search.scheduler != "none", "no scheduler stops trials"),
        (("search", "first_trials"), search.sampler != "grid", "a grid visits all its points"),
    ):
        section = getattr(sweep, path[0])
        value, default = getattr(section, path[1]), type(section).model_fields[path[1]].default
        if value != default and not acts:
            yield Problem(path, f"is {show(_plain(value))} but has no effect: {reason}; remove it")


def _plain(value: object) -> object:
    return [dict(entry) for entry in value] if isinstance(value, tuple) else value
