"""Whether the search space of a sweep fits its algorithms and its sampler."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from models import tuning
from search.errors import way_out
from search.space import algorithm_names
from search.space.ranges import (
    Interval,
    Range,
    extremes,
    grid_size,
    plain,
    show_value,
    text,
    value_in,
)
from search.study.study_space import (
    MOVING,
    averaging_of,
    column_types,
    given_ranges,
    hyperparameter_types,
    study_space,
)
from search.sweep.config_errors import KeyPath, Problem, show
from search.sweep.per_dataset import TRAINING_DEFAULTS, DatasetSweep
from training import averaging, hyperparameters
from training.algorithms import PARTS, part_hyperparameters

# All points of a grid are listed before the first is drawn.
MAX_POINTS = 100_000

# Lowest and highest valid value; 0 and infinity for all others.
COUNTS = ("batch_size", "swad_converge", "swad_tolerance", "swa_every", "lora_rank")
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys((*COUNTS, *MOVING.values()), (1, float("inf"))),
    "dropout": (0, 0.99),
    "swa_start": (0, 0.99),
    "ema_decay": (0, 0.999_999),
    "bma_beta": (0.01, 100),
    "lora_alpha": (1e-6, float("inf")),
    "mixup_alpha": (1e-6, float("inf")),
    "genie_average": (0, 0.999_999),
    "genie_drop": (0, 0.99),
}


def check_space(sweep: DatasetSweep) -> list[Problem]:
    """All problems of search.space and search.first_trials; the algorithms must exist."""
    problems = [*_entries(sweep), *_first_trial_names(sweep)]
    if problems:
        return problems
    if sweep.search.sampler == "grid":
        problems += _first_of_each(_not_on_a_grid(sweep)) or _too_many_points(sweep)
    else:
        problems += _first_trial_values(sweep)
    problems += _first_of_each(_late_starts(sweep))
    problems += [*_first_of_each(_too_few_evaluations(sweep)), *_too_many_pieces(sweep)]
    if sweep.trained and all("batch_size" in given_ranges(sweep, name) for name in sweep.trained):
        problems += _idle_batch_size(sweep)
    return problems


def _entries(sweep: DatasetSweep) -> Iterator[Problem]:
    types = column_types(sweep)
    for name, entry in sweep.search.space.items():
        path: KeyPath = ("search", "space", name)
        if not isinstance(entry, dict):
            yield from _entry(path, entry, types, _unknown(sweep, name))
        elif name in sweep.algorithms:
            own = hyperparameter_types(sweep, name)
            for key, range_ in entry.items():
                unknown = f"is no hyperparameter of {name}; {way_out(key, own)}"
                yield from _entry((*path, key), range_, own, unknown)
        elif name in types:
            yield Problem(
                path,
                "holds settings of its own, which only an algorithm may; "
                "write a range such as {log_uniform: [low, high]}",
            )
        else:
            yield Problem(path, _unlisted(sweep, name))


def _entry(
    path: KeyPath, range_: Range, types: dict[str, type[int] | type[float]], unknown: str
) -> Iterator[Problem]:
    name = str(path[-1])
    if name not in types:
        yield Problem(path, unknown)
    elif misfit := _misfit(name, range_, types[name]):
        yield Problem(path, f"is {show(plain(range_))}; {misfit}")


def _unlisted(sweep: DatasetSweep, name: str) -> str:
    try:
        algorithm_names.parts(name)
    except ValueError:
        return f"is no algorithm; {way_out(name, sweep.algorithms)}"
    return f"is not among the algorithms ({', '.join(sweep.algorithms)}); list it or remove the key"


def _misfit(name: str, range_: Range, type_: type[int] | type[float]) -> str | None:
    """What is wrong with a range for this hyperparameter; None if nothing is."""
    values = extremes(range_)
    for value in values:
        if isinstance(value, str):
            return f"{name} is a number, not {value!r}"
    if type_ is int:
        if isinstance(range_, Interval) and not range_.whole:
            kind = "log_int" if range_.log else "int_uniform"
            return f"{name} is a whole number: write {{{kind}: [low, high]}}"
        for value in values:
            if value != int(value):
                return f"{name} is a whole number, not {show_value(value)}"
    lowest, highest = BOUNDS.get(name, (0, float("inf")))
    for value in map(float, values):
        if not lowest <= value <= highest:
            bound = f"at least {lowest}" if value < lowest else f"at most {highest}"
            return f"{name} must be {bound}, not {show_value(value)}"
    return None


def _first_trial_names(sweep: DatasetSweep) -> Iterator[Problem]:
    known = column_types(sweep)
    for index, trial in enumerate(sweep.search.first_trials):
        if not trial:
            yield Problem(
                ("search", "first_trials", index), "is empty; give it values or remove it"
            )
        for name in trial:
            if name not in known:
                yield Problem(("search", "first_trials", index, name), _unknown(sweep, name))


def _first_trial_values(sweep: DatasetSweep) -> Iterator[Problem]:
    spaces = [study_space(sweep, name) for name in sweep.algorithms]
    for index, trial in enumerate(sweep.search.first_trials):
        for name, value in trial.items():
            ranges = dict.fromkeys(space[name] for space in spaces if name in space)
            if all(value_in(range_, value) is None for range_ in ranges):
                shown = " and ".join(map(text, ranges))
                yield Problem(
                    ("search", "first_trials", index, name),
                    f"is {show(value)}, which its range ({shown}) does not hold; widen "
                    f"search.space.{name} or change the value",
                )


def _not_on_a_grid(sweep: DatasetSweep) -> Iterator[Problem]:
    for algorithm in sweep.algorithms:
        for name, range_ in study_space(sweep, algorithm).items():
            if isinstance(range_, Interval):
                yield Problem(
                    range_key(sweep, algorithm, name),
                    f"is {text(range_)}, but a grid needs single values: write {{choice: "
                    f"[{show_value(range_.low)}, {show_value(range_.high)}]}}, with as many as you "
                    "like, or a constant",
                )


def _too_many_points(sweep: DatasetSweep) -> Iterator[Problem]:
    for algorithm in sweep.algorithms:
        points = grid_size(study_space(sweep, algorithm))
        if points > MAX_POINTS:
            yield Problem(
                ("search", "space"),
                f"gives {algorithm} a grid of {points:,} points; list fewer values, up to "
                f"{MAX_POINTS:,} points, or use another sampler",
            )


def _late_starts(sweep: DatasetSweep) -> Iterator[Problem]:
    """GGA and SMA must begin before the end of a run, at every value of the space."""
    steps = sweep.training.steps
    for algorithm in sweep.algorithms:
        last = {}
        if "GGA" in algorithm_names.parts(algorithm):
            last["start"] = steps - 1, "GGA begins"
        if average := MOVING.get(averaging_of(sweep, algorithm)):
            last[average] = steps, "it averages anything"
        for name, (most, what) in last.items():
            latest = max(map(float, extremes(study_space(sweep, algorithm)[name])))
            if latest > most:
                yield Problem(
                    range_key(sweep, algorithm, name),
                    f"may be {latest:g}, but a run of {steps} steps would be over before {what}; "
                    f"write a constant up to {most}, such as {max(most // 4, min(most, 1))}",
                )


def _too_few_evaluations(sweep: DatasetSweep) -> Iterator[Problem]:
    """SWAD averages nothing before as many evaluations as swad_converge."""
    training = sweep.training
    evaluations = math.ceil(training.steps / training.evaluate_every)
    for algorithm in sweep.algorithms:
        if averaging_of(sweep, algorithm) != "swad":
            continue
        most = max(map(float, extremes(study_space(sweep, algorithm)["swad_converge"])))
        if most > evaluations:
            yield Problem(
                range_key(sweep, algorithm, "swad_converge"),
                f"may be {most:g}, but a run of {training.steps} steps has {evaluations} "
                f"evaluations, and SWAD averages nothing before the {most:g}th; lower "
                f"training.evaluate_every, or write a constant up to {evaluations}",
            )


def _first_of_each(problems: Iterable[Problem]) -> list[Problem]:
    """The problems, but one of a key: several algorithms may read the same."""
    found: dict[KeyPath, Problem] = {}
    for problem in problems:
        found.setdefault(problem.path, problem)
    return list(found.values())


def _too_many_pieces(sweep: DatasetSweep) -> Iterator[Problem]:
    spaces = [study_space(sweep, name) for name in sweep.trained]
    least = min(
        (min(map(float, extremes(space["batch_size"]))) for space in spaces), default=math.inf
    )
    if sweep.training.micro_batches > least:
        yield Problem(
            ("training", "micro_batches"),
            f"is {sweep.training.micro_batches}, but a batch may have only {least:g} samples of a "
            f"domain to share out; it must be at most {least:g}",
        )


def smallest_batch(sweep: DatasetSweep, algorithm: str) -> tuple[KeyPath, str, int]:
    """The fewest samples of a domain that a batch of the algorithm may have.

    Returns the key that says so, the beginning of a sentence about it, and the number.
    """
    least = int(min(map(float, extremes(study_space(sweep, algorithm)["batch_size"]))))
    said = "may be" if "batch_size" in given_ranges(sweep, algorithm) else "is"
    return range_key(sweep, algorithm, "batch_size"), f"{said} {least}", least


def _idle_batch_size(sweep: DatasetSweep) -> Iterator[Problem]:
    default = type(sweep.training).model_fields["batch_size"].default
    own = TRAINING_DEFAULTS.get(sweep.dataset.name, {}).get("batch_size")
    if sweep.training.batch_size not in (default, own):
        yield Problem(
            ("training", "batch_size"),
            f"is {sweep.training.batch_size} but has no effect: search.space.batch_size says "
            "what it is; remove one of them",
        )


def _unknown(sweep: DatasetSweep, name: str) -> str:
    """The rest of a sentence about a hyperparameter that no listed algorithm has."""
    listed = ", ".join(sweep.algorithms)
    owners = [part for part in PARTS if name in part_hyperparameters(part)]
    for average in averaging.AVERAGINGS:
        if name in averaging.hyperparameters(average):
            return (
                f"is a number of the averaging {average}, but training.averaging is "
                f"{sweep.training.averaging}; set it to {average}, list an algorithm such as "
                f"{average.upper()}, or remove the key"
            )
    for how in tuning.TUNINGS:
        if name in tuning.hyperparameters(how):
            return (
                f"is a number of the tuning {how}, but model.tuning is {sweep.model.tuning}; "
                f"set it to {how} or remove the key"
            )
    if name in hyperparameters.of_optimizer("genie"):
        return "is a number of the optimizer genie: set training.optimizer or remove the key"
    if owners:
        return (
            f"is a hyperparameter of {' and '.join(owners)}, but of none of the listed algorithms "
            f"({listed}); list one that has it or remove the key"
        )
    if not column_types(sweep):
        return f"has no effect: {listed} is not trained and has no hyperparameters; remove it"
    known = [*column_types(sweep), *sweep.algorithms]
    return f"is no hyperparameter of the listed algorithms ({listed}); {way_out(name, known)}"


def range_key(sweep: DatasetSweep, algorithm: str, name: str) -> KeyPath:
    """The key that gives, or would give, the range of a hyperparameter of the algorithm."""
    own = sweep.search.space.get(algorithm)
    if isinstance(own, dict) and name in own:
        return ("search", "space", algorithm, name)
    if name == "batch_size" and name not in sweep.search.space:
        return ("training", "batch_size")
    return ("search", "space", name)
