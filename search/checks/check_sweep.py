"""Everything wrong with a sweep: with the part of each dataset, and with what is not for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search.checks.check_budget import check_budget
from search.checks.check_one_dataset import check_one
from search.sweep.config_errors import KeyPath, Problem, show
from search.sweep.per_dataset import by_dataset, path_in_dataset, path_in_file, training_overrides
from search.sweep.schema import Sweep
from search.sweep.training_keys import Training


def check(sweep: Sweep, broken: Sequence[KeyPath] = ()) -> list[Problem]:
    """Everything wrong with a sweep whose keys are each right by themselves.

    broken: keys that were not, and stand at their defaults here; what depends on them is left out.
    """
    wrong: dict[Problem, list[str]] = {}
    idle: dict[KeyPath, list[Problem]] = {}
    parts = by_dataset(sweep)
    for name, part in parts.items():
        found, useless = check_one(part, [path_in_dataset(sweep, name, path) for path in broken])
        for problem in found:
            wrong.setdefault(_in_file(sweep, name, problem), []).append(name)
        for problem in useless:
            here = _in_file(sweep, name, problem)
            idle.setdefault(here.path, []).append(here)
    problems = [*_idle_for_all(sweep), *_two_methods_in_a_row(sweep)]
    for problem, names in wrong.items():
        for_all = len(names) == len(parts) or problem.path[0] == "datasets"
        text = problem.text if for_all else f"{problem.text} ({', '.join(names)})"
        problems.append(Problem(problem.path, text))
    # What acts for one dataset is not in vain.
    problems += [those[0] for path, those in idle.items() if len(those) == _readers(sweep, path)]
    if not problems and not broken:
        problems += check_budget(sweep)
    return [problem for problem in problems if problem.path not in broken]


def _in_file(sweep: Sweep, name: str, problem: Problem) -> Problem:
    return Problem(path_in_file(sweep, name, problem.path), problem.text)


def _readers(sweep: Sweep, path: KeyPath) -> int:
    """How many datasets have no key of their own in the place of this one."""
    if not sweep.datasets or path[0] == "datasets":
        return 1
    return sum(
        path[0] != "training" or path[1] not in training_overrides(given)
        for given in sweep.datasets.values()
    )


def _idle_for_all(sweep: Sweep) -> Iterator[Problem]:
    """Keys of the sweep in whose place each dataset has its own."""
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


def _two_methods_in_a_row(sweep: Sweep) -> Iterator[Problem]:
    for name, given in sweep.datasets.items():
        if "averaging" in training_overrides(given):
            yield Problem(
                ("datasets", name, "training", "averaging"),
                "would give a row of the tables one average here and another there; set "
                "training.averaging for all datasets, or list algorithms such as SAGM and "
                "SAGM+SWAD",
            )
