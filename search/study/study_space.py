"""The space that the studies of an algorithm search, and what they try first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from models import tuning
from search.space import algorithm_names
from search.space.published_settings import Published, published
from search.space.ranges import Choice, Fixed, Interval, Range, Value, contains
from search.space.suggested_ranges import suggestions
from search.sweep.per_dataset import DatasetSweep
from search.sweep.schema import Sweep
from training import averaging
from training.algorithms import hyperparameters


def study_space(one: DatasetSweep, algorithm: str) -> dict[str, Range]:
    """The range of every hyperparameter: training's, the algorithm's own, averaging's, tuning's.

    Suggested ranges, then those of the sweep, then those of the sweep for this algorithm.
    The batch size is fixed unless the sweep's space names it.
    """
    types = hyperparameter_types(one, algorithm)
    suggested = suggestions(_parts(one, algorithm), fresh(one))
    space = {name: suggested[name].range for name in types}
    space["batch_size"] = Fixed(one.training.batch_size)
    given = given_ranges(one, algorithm)
    return {name: _typed(given.get(name, space[name]), types[name]) for name in types}


def fresh(sweep: Sweep) -> bool:
    """Whether the model starts from random weights, which wants other rates than fine-tuning."""
    return sweep.model.weights is None


def hyperparameter_types(sweep: Sweep, algorithm: str) -> dict[str, type[int] | type[float]]:
    """Every hyperparameter of an algorithm in the sweep, and whether it is whole.

    Training's come first, then its own, then those of the averaging and of the model's tuning.
    """
    types = {name: int if name == "batch_size" else float for name in suggestions(())}
    average = averaging_of(sweep, algorithm)
    own = (
        hyperparameters(algorithm_names.split(algorithm)[0])
        | averaging.hyperparameters(average)
        | tuning.hyperparameters(sweep.model.tuning)
    )
    return types | {name: int if isinstance(own[name], int) else float for name in own}


def averaging_of(sweep: Sweep, algorithm: str) -> str:
    """The averaging of an algorithm's trials: the one in its name, or else the sweep's."""
    return algorithm_names.averaging(algorithm, sweep.training.averaging)


def column_types(sweep: Sweep) -> dict[str, type[int] | type[float]]:
    """Every hyperparameter that a listed algorithm has, and whether it is whole."""
    return {k: t for name in sweep.algorithms for k, t in hyperparameter_types(sweep, name).items()}


def given_ranges(sweep: Sweep, algorithm: str) -> dict[str, Range]:
    """What the sweep's space says to an algorithm: what it says to all, then to this one."""
    entries = sweep.search.space
    ranges = {name: entry for name, entry in entries.items() if not isinstance(entry, dict)}
    own = entries.get(algorithm)
    return ranges | own if isinstance(own, dict) else ranges


def first_settings(
    space: Mapping[str, Range],
    published: Mapping[str, Value],
    others: Sequence[Mapping[str, Value]],
) -> list[dict[str, Value]]:
    """What a study tries first: its published setting, then the others, each once.

    Values of the others that are fixed, not in the space or outside of its ranges are left out,
    for the sampler to draw.
    """
    settings = [dict(published)] if published else []
    for wanted in others:
        setting: dict[str, Value] = {}
        for name, range_ in space.items():
            if name in wanted and not isinstance(range_, Fixed):
                value = placed(range_, wanted[name])
                if value is not None:
                    setting[name] = value
        if setting and setting not in settings:
            settings.append(setting)
    return settings


def published_setting(one: DatasetSweep, algorithm: str) -> dict[str, Value]:
    """The published value of all that is searched, or the nearest that its range holds.

    So all studies of a sweep begin alike, whatever its ranges leave out.
    """
    values = published_values(one, algorithm)
    return {
        name: nearest(range_, values[name].value)
        for name, range_ in study_space(one, algorithm).items()
        if name in values and not isinstance(range_, Fixed)
    }


def published_values(one: DatasetSweep, algorithm: str) -> dict[str, Published]:
    """What is reported of each hyperparameter of an algorithm in the sweep, and by whom."""
    return published(_parts(one, algorithm), one.dataset.name, fresh(one))


def _parts(one: DatasetSweep, algorithm: str) -> tuple[str, ...]:
    """What has hyperparameters beside the training: update, averaging and tuning."""
    update = algorithm_names.parts(algorithm)
    return (*update, averaging_of(one, algorithm), one.model.tuning)


def grid(space: Mapping[str, Range]) -> list[dict[str, Value]]:
    """Every combination of the values of all choices; one empty setting if all is fixed.

    Raises ValueError if an interval is among the ranges: its values cannot be listed.
    """
    choices: dict[str, tuple[Value, ...]] = {}
    for name, range_ in space.items():
        if isinstance(range_, Interval):
            raise ValueError(f"a grid needs single values, but {name} is an interval")
        if isinstance(range_, Choice):
            choices[name] = range_.values
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


def placed(range_: Range, value: Value) -> Value | None:
    """The value as the range holds it, None if it does not.

    No logarithmic range holds 0, as in a weight decay of 0: its low end stands for it.
    """
    if isinstance(range_, Interval) and range_.log and value == 0:
        return range_.low
    if not contains(range_, value):
        return None
    match range_:
        case Interval():
            return int(value) if range_.whole else float(value)
        case Choice():
            return next(own for own in range_.values if own == value)
        case Fixed():
            return range_.value


def nearest(range_: Range, value: Value) -> Value:
    """The value that a range holds, or the one in it that is nearest to it; 0 as `placed` does.

    Among single values that are all above 0 it is the one at the smallest ratio.
    """
    inside = placed(range_, value)
    if inside is not None:
        return inside
    match range_:
        case Interval(low, high, whole=whole):
            clipped = min(max(float(value), low), high)
            return round(clipped) if whole else clipped
        case Choice(values):
            ratios = all(float(each) > 0 for each in (value, *values))

            def distance(own: Value) -> float:
                if ratios:
                    return abs(math.log(float(own) / float(value)))
                return abs(float(own) - float(value))

            return min(values, key=distance)
        case Fixed(only):
            return only


def widened(range_: Range, value: Value) -> Range:
    """The range with room for a value that it does not hold.

    No logarithmic range holds 0, so it becomes a plain one that does.
    """
    match range_:
        case Interval(low, high, log, whole):
            number = float(value)
            log = log and number > 0
            whole = whole and number == int(number)
            return Interval(min(low, number), max(high, number), log, whole)
        case Choice(values):
            return Choice(tuple(sorted((*values, value), key=float)))
        case Fixed(only):
            return Choice(tuple(sorted((only, value), key=float)))


def _typed(range_: Range, type_: type[int] | type[float]) -> Range:
    """The range with its single values in the hyperparameter's type, so that columns have one."""
    match range_:
        case Choice():
            return Choice(tuple(type_(value) for value in range_.values))
        case Fixed():
            return Fixed(type_(range_.value))
        case Interval():
            return range_
