"""Which trial of a study is the result: DomainBed's selection methods over Steppe's tables.

Selection is apart from training and search: it reads `trials` and `evaluations` only, and can be
done again, by another method, long after the sweep.

Each rule (search.results.selection_rules) makes two methods. `training-domain` chooses in each
study, so per held-out domain and seed, as DomainBed does. `training-domain-per-dataset` chooses one
setting for all held-out domains and seeds (search.results.one_setting).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from search.errors import SteppeError, way_out
from search.results.one_setting import Rankings, one_setting_each, settings_of
from search.results.ranking import Choice, rank, why_none
from search.results.selection_rules import RULES
from search.run.tables import STUDY_COLUMNS, selection_schema, to_pandas

PER_DATASET = "-per-dataset"
METHODS = (*RULES, *(f"{name}{PER_DATASET}" for name in RULES))

_READ = ["trial", "step", "weights", "domain", "role", "split", "accuracy", "count"]


def rule_of(method: str) -> tuple[str, bool]:
    """The name of a method's rule, and whether it chooses one setting per dataset.

    Raises SteppeError for an unknown method.
    """
    if method not in METHODS:
        raise SteppeError(f"unknown selection method {method!r}: {way_out(method, METHODS)}")
    return method.removesuffix(PER_DATASET), method.endswith(PER_DATASET)


def select(
    trials: pd.DataFrame,
    evaluations: pd.DataFrame,
    methods: Sequence[str] = ("training-domain",),
    studies: Iterable[Mapping[str, Any]] = (),
    untried: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The winner of every study by every method: the table `selection`.

    A study without a winner has a row too: `trial` is null, `reason` says why. `studies` are those
    the sweep asks for, keyed by the study columns, in the order the result is to have; without
    them a study that has no trial yet has no row. `untried`: why a study will never have one
    (search.results.provenance). Raises SteppeError for an unknown method.
    """
    rules = {method: rule_of(method) for method in methods}
    asked = {study["study"]: {name: study[name] for name in STUDY_COLUMNS} for study in studies}
    groups = dict(iter(trials.groupby("study", sort=False, observed=True)))
    found = {key: dict(group[list(STUDY_COLUMNS)].iloc[0]) for key, group in groups.items()}
    columns = {**asked, **found}
    groups |= dict.fromkeys(columns.keys() - groups.keys(), trials.iloc[:0])

    rankings: dict[str, Rankings] = {
        rule: {key: [] for key in columns} for rule, _ in rules.values()
    }
    study_of = dict(zip(trials["trial"], trials["study"], strict=True))
    for own_trials, own in _alike(columns, trials, evaluations):
        for rule, ranking in rankings.items():
            for choice in rank(RULES[rule], own_trials, own):
                ranking[study_of[choice.trial]].append(choice)
    why = {
        rule: {
            key: (untried or {}).get(key) or why_none(RULES[rule], groups[key])
            for key in ranking
            if not ranking[key]
        }
        for rule, ranking in rankings.items()
    }
    settings = settings_of(trials) if any(once for _, once in rules.values()) else {}
    chosen = {
        method: one_setting_each(_datasets(columns), rankings[rule], settings, why[rule])
        if once
        else {key: _winner(choices, why[rule].get(key)) for key, choices in rankings[rule].items()}
        for method, (rule, once) in rules.items()
    }
    failed = {key: int((group["state"] == "failed").sum()) for key, group in groups.items()}
    rows = [
        {**columns[key], "method": method, "failed": failed[key], **chosen[method][key]}
        for key in columns
        for method in rules
    ]
    selection = to_pandas(pa.Table.from_pylist(rows, schema=selection_schema({})))
    hyperparameters = trials.set_index("trial").filter(regex="^hp_").reindex(selection["trial"])
    return pd.concat([selection, hyperparameters.reset_index(drop=True)], axis=1)


def _alike(
    studies: Mapping[str, Mapping[str, Any]], trials: pd.DataFrame, evaluations: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Trials and evaluations of studies with the same source domains, which rules take at once.

    One study at a time, ten methods over 10,000 trials take half a minute.
    """
    read = [name for name in _READ if name in evaluations]
    alike: dict[tuple[str, ...], list[str]] = {}
    for study, values in studies.items():
        key = tuple(values[name] for name in ("sweep", "dataset", "held_out"))
        alike.setdefault(key, []).append(study)
    for names in alike.values():
        own = evaluations.loc[evaluations["study"].isin(names), read].copy()
        # As categories of these alone: else each look-up of a trial walks through all trials.
        own["trial"] = own["trial"].astype("category").cat.remove_unused_categories()
        yield trials[trials["study"].isin(names)], own


def _winner(choices: Sequence[Choice], why: str | None) -> dict[str, Any]:
    """The selection columns of a study that chooses for itself."""
    if not choices:
        return {"reason": why}
    best = choices[0]
    ties = sum(choice.validation == best.validation for choice in choices) - 1
    return {**vars(best), "candidates": len(choices), "ties": ties}


def _datasets(columns: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The studies that share a setting: those of one dataset, model and algorithm."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for study, values in columns.items():
        key = tuple(values[name] for name in ("dataset", "model", "algorithm"))
        groups.setdefault(key, []).append(study)
    return list(groups.values())
