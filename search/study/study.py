"""What a study is: the search for one setting, apart from every other."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from datasets import DATASETS

_COLUMNS = ("dataset", "model", "algorithm", "held_out", "seed")

# Behind it a trial's number, `.safetensors` and the like still fit into the 255 bytes of a file
# system's names.
MOST_BYTES = 230

_DIGEST = 10
_LIKE_A_DIGEST = re.compile(rf".*-[0-9a-f]{{{_DIGEST}}}", re.DOTALL | re.IGNORECASE)
_FAMILIES = ("timm", "open_clip")  # of models.FAMILIES, which needs torch
_IN_FAMILY = re.compile(rf"({'|'.join(_FAMILIES)})/[A-Za-z0-9_+-]+")


@dataclass(frozen=True)
class Study:
    """The search for one (dataset, model, algorithm, held-out domain, seed).

    in_earlier_run: its run was begun when different names could have one `id` (see `manifest`).
    """

    dataset: str
    model: str
    algorithm: str
    held_out: str
    seed: int
    in_earlier_run: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        """Name in files, tables and storages: `RotatedDigits.cnn.DISAM+SAGM.75.0`.

        ASCII letters, digits, `_`, `+`, `-` and dots. It depends on this study alone, and two
        studies never have the same, not even where upper and lower case are one: what would make
        it ambiguous is told apart by a digest.
        """
        if self.in_earlier_run:
            names = (self.dataset, self.model, self.algorithm, self.held_out)
            return ".".join([*map(_plain, names), str(self.seed)])
        parts = (_first(self.dataset), _model(self.model), _named(self.algorithm))
        whole = ".".join([*parts, _domain(self.dataset, self.held_out), str(self.seed)])
        if len(whole) <= MOST_BYTES:
            return whole
        return f"{whole[: MOST_BYTES - _DIGEST - 1]}-{_digest(whole)}"

    @property
    def title(self) -> str:
        """Its names as they are written, as tables print them."""
        return ".".join(str(value) for value in self.columns.values())

    @property
    def columns(self) -> dict[str, Any]:
        """What tables say of it, by column."""
        return {name: getattr(self, name) for name in _COLUMNS}


def _domain(dataset: str, name: str) -> str:
    """A dataset that Steppe knows has domains that differ; a user's own folders may be alike."""
    entry = DATASETS.get(dataset)
    known = {_plain(d).lower(): d for d in reversed(entry.description.domains if entry else ())}
    plain = _plain(name)
    same = known.get(plain.lower())
    if same is not None:
        return plain if name == same else _told_apart(name)
    return _named(name) if name == name.lower() else _told_apart(name)


def _model(name: str) -> str:
    if _IN_FAMILY.fullmatch(name) and not _LIKE_A_DIGEST.fullmatch(name):
        return _plain(name)
    return _told_apart(name) if name.startswith(tuple(f"{f}_" for f in _FAMILIES)) else _named(name)


def _first(name: str) -> str:
    """A part that a file's name begins with: no dot, which hides it, and no dash or underscore."""
    if re.match(r"[A-Za-z0-9]", name):
        return _named(name)
    return f"x{_told_apart(name)}"


def _named(name: str) -> str:
    unambiguous = _plain(name) == name and not _LIKE_A_DIGEST.fullmatch(name)
    return name if unambiguous else _told_apart(name)


def _told_apart(name: str) -> str:
    return f"{_plain(name)}-{_digest(name)}"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_+-]", "_", name)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
