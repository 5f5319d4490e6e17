"""The range of a hyperparameter: an interval, a choice of values, or one fixed value.

As a user writes them: `{log_uniform: [0.01, 0.3]}`, `{uniform: [0, 1]}`, `{int_uniform: [1, 5]}`,
`{log_int: [8, 45]}`, `{choice: [0, 0.1, 0.5]}`, or a constant.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

from search.errors import way_out
from search.yaml_file import as_number

Value = int | float | str

# kind -> (log, whole)
INTERVALS = {
    "uniform": (False, False),
    "log_uniform": (True, False),
    "int_uniform": (False, True),
    "log_int": (True, True),
}
KINDS = (*INTERVALS, "choice")


@dataclass(frozen=True)
class Interval:
    """Numbers from low to high, both included; drawn uniformly, in their logarithm if `log`.

    Raises ValueError if low is not below high, an end is not finite, an end of a whole interval is
    not whole, or an end of a logarithmic one is not above 0.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        for end in ("low", "high"):
            value = number(getattr(self, end))
            if self.whole and value != int(value):
                raise ValueError(
                    f"the ends of a {self.kind} must be whole, but got {show_number(value)}"
                )
            object.__setattr__(self, end, int(value) if self.whole else float(value))
        low, high = show_number(self.low), show_number(self.high)
        if self.low > self.high:
            raise ValueError(
                f"the low end {low} is above the high end {high}; "
                f"write {{{self.kind}: [{high}, {low}]}}"
            )
        if self.low == self.high:
            raise ValueError(f"both ends are {low}; for a constant, write {low} alone")
        if self.log and self.low <= 0:
            plain = "int_uniform" if self.whole else "uniform"
            raise ValueError(
                f"a {self.kind} must begin above 0, but its low end is {low}; "
                f"raise it or write {{{plain}: [{low}, {high}]}}"
            )

    @property
    def kind(self) -> str:
        """Its key in a sweep file."""
        return next(k for k, shape in INTERVALS.items() if shape == (self.log, self.whole))


@dataclass(frozen=True)
class Choice:
    """One of several numbers or words. Raises ValueError for no value, or one that comes twice."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        values = tuple(plain_value(value) for value in self.values)
        if not values:
            raise ValueError("a choice needs at least one value")
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f"{show_value(value)} comes twice in the choice; keep one")
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class Fixed:
    """One number or word, never searched."""

    value: Value

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", plain_value(self.value))


Range = Interval | Choice | Fixed


def parse_range(written: object) -> Range:
    """The range that a user wrote. Raises ValueError with a sentence for anything else."""
    if isinstance(written, Interval | Choice | Fixed):
        return written
    if isinstance(written, list | tuple):
        listed = ", ".join(map(str, written))
        raise ValueError(f"a list is not a range; write {{choice: [{listed}]}}")
    if not isinstance(written, Mapping):
        return Fixed(plain_value(written))
    if len(written) != 1:
        raise ValueError(
            f"a range has exactly one of the keys {', '.join(KINDS)}, but this has "
            + (", ".join(map(str, written)) or "none")
        )
    ((kind, body),) = written.items()
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is not a kind of range; {way_out(str(kind), KINDS)}")
    if not isinstance(body, list | tuple):
        pattern = "{choice: [0, 0.1]}" if kind == "choice" else f"{{{kind}: [low, high]}}"
        raise ValueError(f"{kind} needs a list: write {pattern}")
    if kind == "choice":
        return Choice(tuple(body))
    if len(body) != 2:
        raise ValueError(f"{kind} needs a low and a high end, but got {len(body)} values")
    log, whole = INTERVALS[kind]
    return Interval(body[0], body[1], log, whole)


def plain(range_: Range) -> Value | dict[str, list[Value]]:
    """The range as a user writes it: `parse_range(plain(r)) == r`."""
    match range_:
        case Interval():
            return {range_.kind: [range_.low, range_.high]}
        case Choice():
            return {"choice": list(range_.values)}
        case Fixed():
            return range_.value


def text(range_: Range) -> str:
    """The range in a few characters, for tables: `log 0.01 .. 0.3`."""
    match range_:
        case Interval():
            ends = f"{show_number(range_.low)} .. {show_number(range_.high)}"
            return ("log " if range_.log else "") + ends + (" whole" if range_.whole else "")
        case Choice():
            return "one of " + ", ".join(map(show_value, range_.values))
        case Fixed():
            return show_value(range_.value)


def contains(range_: Range, value: Value) -> bool:
    """Whether a sampler could draw the value from the range."""
    if not isinstance(range_, Interval):
        return value in extremes(range_)
    if isinstance(value, str) or not range_.low <= value <= range_.high:
        return False
    return not range_.whole or value == int(value)


def extremes(range_: Range) -> tuple[Value, ...]:
    """Both ends of an interval, or all the single values."""
    match range_:
        case Interval():
            return (range_.low, range_.high)
        case Choice():
            return range_.values
        case Fixed():
            return (range_.value,)


def grid_size(space: Mapping[str, Range]) -> int:
    """How many combinations the choices of these ranges have."""
    return math.prod(len(r.values) for r in space.values() if isinstance(r, Choice))


def grid_points(space: Mapping[str, Range]) -> list[dict[str, Value]]:
    """Every combination of the values of all choices; one empty setting if all are fixed.

    Raises ValueError for an interval, whose values cannot be listed.
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


def different_settings(space: Mapping[str, Range]) -> int | None:
    """How many settings a space has; None if it has an interval."""
    intervals = any(isinstance(range_, Interval) for range_ in space.values())
    return None if intervals else grid_size(space)


def value_in(range_: Range, value: Value) -> Value | None:
    """The value in the range's type; None if the range does not contain it.

    For 0, as in a weight decay of 0, a logarithmic range gives its low end.
    """
    if isinstance(range_, Interval) and range_.log and value == 0:
        return range_.low
    if not contains(range_, value):
        return None
    if isinstance(range_, Interval):
        return int(value) if range_.whole else float(value)
    return next(own for own in extremes(range_) if own == value)


def nearest_value(range_: Range, value: Value) -> Value:
    """The value of the range that is nearest to this one; of a choice above 0 by ratio."""
    inside = value_in(range_, value)
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
    """The range, extended to contain a value; a logarithmic one becomes uniform for 0."""
    if not isinstance(range_, Interval):
        return Choice(tuple(sorted((*extremes(range_), value), key=float)))
    number = float(value)
    log = range_.log and number > 0
    whole = range_.whole and number == int(number)
    return Interval(min(range_.low, number), max(range_.high, number), log, whole)


def plain_value(written: object) -> Value:
    """A number, also one that is written as text (`1e-5`), or a word; else ValueError."""
    if isinstance(written, str) and as_number(written) is None:
        return str(written)
    return number(written)


def number(written: object) -> int | float:
    """A finite number, also one written as text; else ValueError."""
    value = as_number(written) if isinstance(written, str) else written
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = "nothing" if written is None else repr(written)
        raise ValueError(f"a number is needed, but got {shown}")
    if not -1e308 < value < 1e308:
        raise ValueError(f"a finite number is needed, but got {written}")
    return value


def show_value(value: Value) -> str:
    """A number or a word as text."""
    return value if isinstance(value, str) else show_number(value)


def show_number(value: float, digits: int = 6) -> str:
    """A number as text, a float with this many significant digits: `0.05`, `1e-05`."""
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"
