"""Frames of several runs as one, with categories for the texts that repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import union_categoricals

from search.results.selection import METHODS
from search.run.tables import STATES

_ORDERS: dict[str, Sequence[str]] = {
    "state": STATES,
    "method": METHODS,
    "weights": ("iterate", "average"),
    "role": ("source", "held_out", "left_out"),
    "split": ("in", "out"),
}
_CATEGORIES = (
    *("sweep", "study", "dataset", "model", "algorithm", "held_out", "fold", "domain"),
    *("node", "device"),
    *_ORDERS,
)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One frame after the other; columns that one lacks are null there, categories are united."""
    some = [frame for frame in frames if len(frame)] or frames[:1]
    if len(some) == 1:
        return some[0]
    same = [
        name
        for name in some[0]
        if all(name in frame and frame[name].dtype == "category" for frame in some)
    ]
    plain = pd.concat([frame.drop(columns=same) for frame in some], ignore_index=True)
    for name in same:
        plain[name] = union_categoricals([frame[name] for frame in some])
    names = dict.fromkeys(name for frame in some for name in frame)
    return plain[list(names)]


def categorical(frame: pd.DataFrame, studies: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The frame with its texts as categories, those of the studies in the order these are in."""
    changed = {}
    for name in _CATEGORIES:
        if name in frame:
            order = _ORDERS.get(name) or [study[name] for study in studies if name in study]
            column = frame[name].astype("category")
            found = column.cat.categories
            known = dict.fromkeys(value for value in order if value in found)
            changed[name] = column.cat.set_categories([*dict.fromkeys([*known, *found])])
    return frame.assign(**changed)
