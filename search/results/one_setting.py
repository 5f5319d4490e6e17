"""One setting for all studies of a dataset: how the tables of SWAD, SAGM and GGA are made.

A setting is the values of all hyperparameters. It is a candidate if every study of (dataset, model,
algorithm), so every held-out domain and seed, has completed a trial with it: the mean over some of
the studies would favour a setting that failed where it is hard. Its score is the mean over
the studies of the validation that ranks its trial there; each study keeps its own step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from search.results.ranking import Choice

Setting = tuple[object, ...]
Rankings = dict[str, list[Choice]]  # study -> its candidates, best first


def settings_of(trials: pd.DataFrame) -> dict[str, Setting]:
    """Trial -> its setting: the columns `hp_*`, None for what its algorithm lacks."""
    values = trials.filter(regex="^hp_").astype(object)
    values = values.where(values.notna(), None)
    return dict(zip(trials["trial"], values.itertuples(index=False, name=None), strict=True))


def one_setting_each(
    groups: Iterable[Sequence[str]],
    rankings: Rankings,
    settings: Mapping[str, Setting],
    why: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Study -> the selection columns of the setting that its group of studies shares.

    `settings`: that of each trial. `why`: the reason of each study without candidates.
    """
    found: dict[str, dict[str, Any]] = {}
    for studies in groups:
        missing = {study: why[study] for study in studies if study in why}
        if missing:
            reason = f"no setting completed in all {_count(len(studies))}"
            found |= {study: {"reason": missing.get(study, reason)} for study in studies}
        else:
            found |= _one_setting({study: rankings[study] for study in studies}, settings)
    return found


def _one_setting(rankings: Rankings, settings: Mapping[str, Setting]) -> dict[str, dict[str, Any]]:
    by_study: dict[str, dict[Setting, Choice]] = {study: {} for study in rankings}
    for study, choices in rankings.items():
        for choice in choices:
            # A setting that was tried twice gave the same twice; the first is the larger number.
            by_study[study].setdefault(settings[choice.trial], choice)
    first, *others = by_study.values()
    shared = [setting for setting in first if all(setting in other for other in others)]
    if not shared:
        reason = f"no setting completed in all {_count(len(rankings))}"
        return {study: {"reason": reason} for study in rankings}
    scores = {
        setting: float(np.mean([found[setting].validation for found in by_study.values()]))
        for setting in shared
    }
    # Among equals the largest number in the first study, as in a study of its own.
    best = max(shared, key=lambda setting: (scores[setting], first[setting].number))
    counts = {
        "candidates": len(shared),
        "ties": sum(score == scores[best] for score in scores.values()) - 1,
    }
    return {
        study: {**vars(found[best]), "validation": scores[best], **counts}
        for study, found in by_study.items()
    }


def _count(studies: int) -> str:
    return f"{studies} studies" if studies > 1 else "1 study"
