"""The error for everything that a user can put right, and the words that suggest the way out."""

from __future__ import annotations

from collections.abc import Iterable

from datasets.spelling import nearest as nearest
from datasets.spelling import told_apart


class SteppeError(Exception):
    """Something the user gave is wrong: shown without a traceback; exit status 2."""


def way_out(word: str, known: Iterable[str]) -> str:
    """`did you mean tpe? (there are: tpe, gp)`; without the guess if no known word is similar."""
    known = list(known)
    exact = told_apart([word, *known])
    names = ", ".join(exact[name] for name in known)
    listed = f"there are: {names}" if known else "there are none"
    close = nearest(word, known)
    return f"did you mean {exact[close]}? ({listed})" if close else listed
