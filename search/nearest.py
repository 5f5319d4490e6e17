"""The nearest right word, as messages of the search give it."""

from __future__ import annotations

from collections.abc import Iterable

from datasets.nearest import nearest as nearest
from datasets.spelling import told_apart


def way_out(word: str, known: Iterable[str]) -> str:
    """`did you mean tpe? (there are: tpe, gp)`, without the guess if no known word is like it."""
    known = list(known)
    exact = told_apart([word, *known])
    names = ", ".join(exact[name] for name in known)
    listed = f"there are: {names}" if known else "there are none"
    close = nearest(word, known)
    return f"did you mean {exact[close]}? ({listed})" if close else listed
