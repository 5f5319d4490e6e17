"""The name of an algorithm in a sweep: parts of the update, and an average of the weights.

`SAGM+SWAD` is SAGM with SWAD's average as its result; `SWAD` alone is ERM with SWAD's average.
`ERM++` is an average, too, and starts from a linear probe.
"""

from __future__ import annotations

import re

from search.errors import nearest
from training.algorithms import PARTS, ZERO_SHOT, parse
from training.averaging import AVERAGINGS, NONE

# In a name -> as a value of training.averaging.
AVERAGES = {name.upper(): name for name in AVERAGINGS}


def words_of(name: str) -> list[str]:
    """The parts and averages that a name joins by +; `ERM++` is one of them, however written."""
    plus = "\0"
    marked = re.sub(r"erm\+\+", lambda found: found[0].replace("+", plus), name, flags=re.I)
    return [word.replace(plus, "+") for word in marked.split("+")]


def split(name: str) -> tuple[str, str | None]:
    """The update and the average: (SAGM, swad) of `SAGM+SWAD`, (SAGM, None) of `SAGM`.

    Raises ValueError for two averages, a word that is nearly an average, or none beside a plus.
    """
    words = words_of(name)
    averages = [word for word in words if word in AVERAGES]
    known = ["ERM", ZERO_SHOT, *PARTS, *AVERAGES]
    if len(words) > 1 and not all(map(str.strip, words)):
        near = nearest(name, known)
        guess = f"did you mean {near}?" if near else "a + joins two names"
        raise ValueError(f"{name!r} has nothing on one side of a +; {guess}")
    for word in words:
        near = word if word in known else nearest(word, known)
        if near != word and near in AVERAGES:
            where = repr(word) if word == name else f"{word!r} in {name!r}"
            raise ValueError(f"unknown algorithm {where}; did you mean {near}?")
    if not averages:
        return name, None
    if len(averages) > 1:
        raise ValueError(f"{name!r} has two averages, {' and '.join(averages)}; keep one")
    update = "+".join(word for word in words if word not in AVERAGES)
    if update == ZERO_SHOT:
        raise ValueError(f"{ZERO_SHOT!r} in {name!r} has no weights to average; it stands alone")
    if update == "ERM":
        raise ValueError(f"'ERM' in {name!r} is the update without any part; leave it out")
    return update or "ERM", AVERAGES[averages[0]]


def parts(name: str) -> tuple[str, ...]:
    """The parts of the update, as training.algorithms.parse gives them. Raises as `split`."""
    return parse(split(name)[0])


def averaging(name: str, otherwise: str) -> str:
    """The average in the name; `otherwise`, the sweep's, if it has none and is trained."""
    return NONE if name == ZERO_SHOT else split(name)[1] or otherwise
