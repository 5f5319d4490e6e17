"""The nearest right word, and the error for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from datasets.spelling import told_apart


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, whatever its case; None if none is like it."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """An error that names the wrong word, the nearest right one if there is one, and all."""
    known = list(known)
    near = nearest(name, known)
    exact = told_apart([name, *known])
    word, guess = (exact[n] if n and exact[n] != n else repr(n) for n in (name, near))
    hint = f"; did you mean {guess}?" if near else ";"
    listed = ", ".join(exact[n] for n in known)
    return ValueError(f"unknown {kind}: {word}{hint} there are: {listed}")
