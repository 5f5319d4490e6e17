"""The nearest right word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, whatever its case; None if none is like it."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def way_out(word: str, known: Iterable[str]) -> str:
    """`did you mean tpe? (there are: tpe, gp)`, without the guess if no known word is like it."""
    known = list(known)
    listed = f"there are: {', '.join(known)}" if known else "there are none"
    close = nearest(word, known)
    return f"did you mean {close}? ({listed})" if close else listed
