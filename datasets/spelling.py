"""Names as a reader sees them: what can be printed, what looks alike, and the nearest known one."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterable, Mapping

# Letters of other scripts, Cyrillic and Greek, and the Latin ones that they look like.
_OTHERS, _LATIN = "абвеијкорсѕтухһԁɡοαρυνιτκ", "a6beujkopcstyxhdgoapuvitk"
_CONFUSABLE = str.maketrans(_OTHERS + _OTHERS.upper(), _LATIN + _LATIN.upper())


def shown(name: str) -> str:
    """A name that can be printed and takes one line.

    Bytes that are no UTF-8, control characters and characters without a width are escaped.
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_utf8(name: str) -> bool:
    """Whether the name's bytes on the disk are UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def same_text(name: str) -> str:
    """Equal for names that are one text: of other normal forms, or with blanks around."""
    visible = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFC", visible).split())


def looks(name: str) -> str:
    """Equal for names that look alike, also with letters of other scripts or widths."""
    return unicodedata.normalize("NFKC", same_text(name)).translate(_CONFUSABLE)


def told_apart(names: Iterable[str]) -> Mapping[str, str]:
    """How each name is written in one message: escaped if another one of them looks like it."""
    names = list(dict.fromkeys(names))
    count: dict[str, list[str]] = {}
    for name in names:
        count.setdefault(looks(name), []).append(name)
    return {
        name: shown(name) if len(alike := count[looks(name)]) == 1 else _exact(name, alike)
        for name in names
    }


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most similar to `word`, ignoring case; None if none is similar.

    One that differs in signs alone is it: `ERM_PP` and `ERMplusplus` are `ERM++`.
    """
    known = list(known)
    same = next((each for each in known if _letters(each) == _letters(word)), None)
    if same is not None:
        return same
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """An error with the unknown word, the nearest known one if there is one, and all of them."""
    known = list(known)
    near = nearest(name, known)
    exact = told_apart([name, *known])
    word, guess = (exact[n] if n and exact[n] != n else repr(n) for n in (name, near))
    hint = f"; did you mean {guess}?" if near else ";"
    listed = ", ".join(exact[n] for n in known)
    return ValueError(f"unknown {kind}: {word}{hint} there are: {listed}")


def _letters(name: str) -> str:
    """Letters and digits alone; a plus is its first letter, as in ERMPP."""
    pronounced = name.casefold().replace("plus", "p").replace("+", "p")
    return "".join(c for c in pronounced if c.isalnum()) or name


def _exact(name: str, alike: list[str]) -> str:
    r"""`'caf\xe9' (NFC)`: every character that is not ASCII by its number."""
    form = ""
    if len({unicodedata.normalize("NFC", other) for other in alike}) < len(alike):
        forms = [f for f in ("NFC", "NFD") if unicodedata.is_normalized(f, name)]
        form = f" ({forms[0]})" if len(forms) == 1 else ""
    return f"{name!a}{form}"
