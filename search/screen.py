"""Names as a reader can tell them apart, whatever stands in them."""

from __future__ import annotations

import unicodedata

# Characters that change the direction of what follows, so that a line reads otherwise than it is.
_TURNING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printable(text: str) -> str:
    """The text on one line, with escapes such as `\\n` and `\\x1b` for what steers a terminal."""
    if text.isprintable() and not text.isspace():
        return text
    return "".join(
        repr(c)[1:-1] if unicodedata.category(c) in _STEERING or c in _TURNING else c for c in text
    )


# Control characters, parts of characters (of names that are not UTF-8), ends of lines.
_STEERING = ("Cc", "Cs", "Zl", "Zp")
