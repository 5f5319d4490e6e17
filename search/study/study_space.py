"""The space that the studies of an algorithm search, and the settings that they try first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models import tuning
from search.space import algorithm_names
from search.space.published_settings import Published, published
from search.space.ranges import Choice, Fixed, Interval, Range, Value, nearest_value, value_in
from search.space.suggested_ranges import TEXT_HEAD, Suggestion, suggestions
from search.sweep.per_dataset import DatasetSweep
from search.sweep.schema import Sweep
from training import averaging
from training.algorithms import PARTS, ZERO_SHOT, hyperparameters
from training.hyperparameters import of_optimizer

# Averages that begin with an update, and the number that says which.
MOVING = {"sma": "sma_start", "erm++": "ermpp_start"}


def study_space(sweep: DatasetSweep, algorithm: str) -> dict[str, Range]:
    """The range of every hyperparameter of an algorithm in the sweep.

    A range of the sweep's space for this algorithm holds over one for all algorithms, and that over
    the suggested one. The batch size is fixed unless the sweep's space names it, and a moving
    average starts in the middle of a run that is too short for the suggested start.
    """
    types = hyperparameter_types(sweep, algorithm)
    if not types:
        return {}
    suggested = suggested_ranges(sweep, algorithm)
    space = {name: suggested[name].range for name in types}
    space["batch_size"] = Fixed(sweep.training.batch_size)
    average = averaging_of(sweep, algorithm)
    if start := MOVING.get(average):
        published = int(averaging.hyperparameters(average)[start])
        space[start] = Fixed(min(published, max(sweep.training.steps // 2, 1)))
    given = given_ranges(sweep, algorithm)
    return {name: _typed(given.get(name, space[name]), types[name]) for name in types}


def suggested_ranges(sweep: DatasetSweep, algorithm: str) -> dict[str, Suggestion]:
    """The suggested range and its source of every hyperparameter of an algorithm in the sweep."""
    return suggestions(_parts(sweep, algorithm), random_weights(sweep))


def random_weights(sweep: Sweep) -> bool:
    """Whether the model starts from random weights, which need other rates than fine-tuning."""
    return sweep.model.weights is None


def hyperparameter_types(sweep: Sweep, algorithm: str) -> dict[str, type[int] | type[float]]:
    """The type of every hyperparameter of an algorithm in the sweep.

    First those of the training, then of the update, the averaging, the model's tuning and the
    optimizer. What is not trained has none.
    """
    if algorithm == ZERO_SHOT:
        return {}
    types = {name: int if name == "batch_size" else float for name in suggestions(())}
    average = averaging_of(sweep, algorithm)
    own = (
        hyperparameters(algorithm_names.split(algorithm)[0])
        | averaging.hyperparameters(average)
        | tuning.hyperparameters(sweep.model.tuning)
        | of_optimizer(sweep.training.optimizer)
    )
    return types | {name: int if isinstance(own[name], int) else float for name in own}


def averaging_of(sweep: Sweep, algorithm: str) -> str:
    """The averaging of an algorithm's trials: the one in its name, otherwise the sweep's."""
    return algorithm_names.averaging(algorithm, sweep.training.averaging)


def start_of(sweep: Sweep, algorithm: str) -> str:
    """What an algorithm's trials start from: of ERM++ a linear probe, otherwise the sweep's."""
    return "linear-probe" if averaging_of(sweep, algorithm) == "erm++" else sweep.training.start


def column_types(sweep: Sweep) -> dict[str, type[int] | type[float]]:
    """The type of every hyperparameter that an algorithm of the sweep has."""
    return {k: t for name in sweep.algorithms for k, t in hyperparameter_types(sweep, name).items()}


def given_ranges(sweep: Sweep, algorithm: str) -> dict[str, Range]:
    """The ranges of the sweep's space for an algorithm: those for all, then its own."""
    entries = sweep.search.space
    ranges = {name: entry for name, entry in entries.items() if not isinstance(entry, dict)}
    own = entries.get(algorithm)
    return ranges | own if isinstance(own, dict) else ranges


def first_settings(
    space: Mapping[str, Range],
    begin: Sequence[Mapping[str, Value]],
    others: Sequence[Mapping[str, Value]],
) -> list[dict[str, Value]]:
    """What a study tries first: those that it begins with, then the others, each once.

    Values of the others that are fixed, not in the space or outside its ranges are left out; the
    sampler draws these.
    """
    settings = [dict(setting) for setting in begin if setting]
    for wanted in others:
        setting: dict[str, Value] = {}
        for name, range_ in space.items():
            if name in wanted and not isinstance(range_, Fixed):
                value = value_in(range_, wanted[name])
                if value is not None:
                    setting[name] = value
        if setting and setting not in settings:
            settings.append(setting)
    return settings


def begins_with(sweep: DatasetSweep, algorithm: str) -> list[dict[str, Value]]:
    """The settings that the algorithm's studies begin with, each value in its range.

    Every searched hyperparameter has the value that `wanted_first` has, or the nearest one.
    """
    space = study_space(sweep, algorithm)
    settings: list[dict[str, Value]] = []
    for values in wanted_first(sweep, algorithm):
        setting = {
            name: nearest_value(range_, values[name].value)
            for name, range_ in space.items()
            if name in values and not isinstance(range_, Fixed)
        }
        if setting not in settings:
            settings.append(setting)
    return settings


def wanted_first(sweep: DatasetSweep, algorithm: str) -> list[dict[str, Published]]:
    """The algorithm's own setting on the dataset, published or default, and variants of it.

    A variant has the training's values of another algorithm there, so that no algorithm is tried
    with values tuned for the dataset while another is not: all algorithms begin with the same
    values of lr, weight decay, dropout and batch size, their own first.
    """
    own = published_values(sweep, algorithm)
    settings = [own]
    known = [_values(own)]
    for other in ("ERM", *PARTS):
        theirs = published((other, *_of_all(sweep)), sweep.dataset.name, random_weights(sweep))
        variant = own | {name: theirs[name] for name in suggestions(())}
        if _values(variant) not in known:
            settings.append(variant)
            known.append(_values(variant))
    return settings


def published_values(sweep: DatasetSweep, algorithm: str) -> dict[str, Published]:
    """The published or default value of each hyperparameter of an algorithm in the sweep."""
    return published(_parts(sweep, algorithm), sweep.dataset.name, random_weights(sweep))


def _values(setting: Mapping[str, Published]) -> dict[str, Value]:
    return {name: entry.value for name, entry in setting.items()}


def _parts(sweep: DatasetSweep, algorithm: str) -> tuple[str, ...]:
    """What has hyperparameters besides the training: update, averaging, head, tuning, optimizer."""
    update = algorithm_names.parts(algorithm)
    return (*update, averaging_of(sweep, algorithm), *_of_all(sweep))


def _of_all(sweep: Sweep) -> tuple[str, ...]:
    """What gives all algorithms rates of their own: the model's head and tuning, the optimizer."""
    head = [] if sweep.model.head == "linear" else [TEXT_HEAD]
    return (*head, sweep.model.tuning, sweep.training.optimizer)


def _typed(range_: Range, type_: type[int] | type[float]) -> Range:
    """The range with its single values in the hyperparameter's type, as in its column."""
    match range_:
        case Choice():
            return Choice(tuple(type_(value) for value in range_.values))
        case Fixed():
            return Fixed(type_(range_.value))
        case Interval():
            return range_
