"""Which trial of a study is the result: DomainBed's selection methods over Steppe's tables.

Selection is separate from training and search: it reads only `trials` and `evaluations`, and can be
done again, by another method, long after the sweep.

Each rule (search.results.selection_rules) makes two methods. `training-domain` chooses in each
study, so per held-out domain and seed, as DomainBed does. `training-domain-per-dataset` chooses one
setting for all held-out domains and seeds, as the tables of SWAD, SAGM and GGA do. In a sweep whose
objective is the mean over seeds, the first kind chooses one setting for all seeds of a held-out
domain.

A setting is the values of all hyperparameters. To be chosen for a dataset, every study of (dataset,
model, algorithm) must have completed a trial with it: the mean over some of the studies would
favour a setting that failed where it is hard. Its score is the mean over the studies of the
validation that ranks its trial there; each study keeps its own step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from search.errors import SteppeError, way_out
from search.results.candidates import Candidate, rank, why_none
from search.results.selection_rules import RULES
from search.run.columns import STUDY_COLUMNS, selection_schema, to_pandas
from search.sweep.schema import Sweep

PER_DATASET = "-per-dataset"
METHODS = (*RULES, *(f"{name}{PER_DATASET}" for name in RULES))

Setting = tuple[object, ...]
Rankings = dict[str, list[Candidate]]  # study -> its candidates, best first

_READ = ["trial", "step", "weights", "domain", "role", "split", "accuracy", "count"]


def rule_of(method: str) -> tuple[str, bool]:
    """The name of a method's rule, and whether it chooses one setting per dataset.

    Raises SteppeError for an unknown method.
    """
    if method not in METHODS:
        raise SteppeError(f"unknown selection method {method!r}: {way_out(method, METHODS)}")
    return method.removesuffix(PER_DATASET), method.endswith(PER_DATASET)


def over_seeds_of(sweeps: Mapping[str, Sweep]) -> list[str]:
    """Of sweeps by name, those whose studies have one setting for all seeds of a held-out domain.

    They are the argument `over_seeds` below.
    """
    return [name for name, sweep in sweeps.items() if sweep.search.objective_over == "seeds"]


def how_chosen(method: str, sweeps: Iterable[str] = (), over_seeds: Collection[str] = ()) -> str:
    """What a method chooses for in the studies of these sweeps, for titles."""
    rule, once = rule_of(method)
    tied = {sweep in over_seeds for sweep in sweeps}
    if once:
        each = "one setting per dataset"
    elif tied <= {False}:
        each = "per held-out domain and seed"
    else:
        each = "per held-out domain" + " and, in some runs, seed" * (False in tied)
    return f"{rule} selection, {each}"


def select(
    trials: pd.DataFrame,
    evaluations: pd.DataFrame,
    methods: Sequence[str] = ("training-domain",),
    studies: Iterable[Mapping[str, Any]] = (),
    untried: Mapping[str, str] | None = None,
    over_seeds: Collection[str] = (),
) -> pd.DataFrame:
    """The winner of every study by every method: the table `selection`.

    A study without a winner has a row too: `trial` is null, `reason` says why. studies: the study
    columns of those that the sweep asks for, in the order of the result; without them a study that
    has no trial yet has no row. untried: why a study will never have a trial
    (search.results.notes). over_seeds: see `over_seeds_of`.

    Raises SteppeError for an unknown method.
    """
    rules = {method: rule_of(method) for method in methods}
    begun: list[Any] = trials.drop_duplicates("study").to_dict("records")
    columns = {
        study["study"]: {name: study[name] for name in STUDY_COLUMNS}
        for study in (*studies, *begun)
    }

    rankings = _rankings({rule for rule, _ in rules.values()}, columns, trials, evaluations)
    without = {key for found in rankings.values() for key in found if not found[key]}
    of_these = trials[trials["study"].isin(without)]
    groups = dict(iter(of_these.groupby("study", sort=False, observed=True)))
    why = {
        rule: {
            key: (untried or {}).get(key) or why_none(RULES[rule], groups.get(key, trials.iloc[:0]))
            for key in ranking
            if not ranking[key]
        }
        for rule, ranking in rankings.items()
    }
    tied = _seeds(columns, over_seeds)
    settings = _settings_of(trials) if tied or any(once for _, once in rules.values()) else {}
    chosen = {}
    for method, (rule, once) in rules.items():
        sharing = _datasets(columns) if once else tied
        own = {key: _winner(found, why[rule].get(key)) for key, found in rankings[rule].items()}
        chosen[method] = own | _one_setting_each(sharing, rankings[rule], settings, why[rule])
    failed = trials.loc[trials["state"] == "failed", "study"].astype(str).value_counts().to_dict()
    rows = [
        {**columns[key], "method": method, "failed": failed.get(key, 0), **chosen[method][key]}
        for key in columns
        for method in rules
    ]
    selection = to_pandas(pa.Table.from_pylist(rows, schema=selection_schema({})))
    hyperparameters = trials.set_index("trial").filter(regex="^hp_").reindex(selection["trial"])
    return pd.concat([selection, hyperparameters.reset_index(drop=True)], axis=1)


def ranked(
    method: str,
    trials: pd.DataFrame,
    evaluations: pd.DataFrame,
    studies: Iterable[Mapping[str, Any]],
    over_seeds: Collection[str] = (),
) -> list[Rankings]:
    """The candidates of every study by a method, best first.

    A mapping for each (dataset, model, algorithm). By a method `...-per-dataset`, all studies of a
    mapping have the same settings in the same order. studies: the study columns of all studies.
    over_seeds: see `over_seeds_of`. Raises SteppeError for an unknown method.
    """
    rule, once = rule_of(method)
    columns = {study["study"]: study for study in studies}
    rankings = _rankings([rule], columns, trials, evaluations)[rule]
    groups = [{study: rankings[study] for study in group} for group in _datasets(columns)]
    tied = [] if once else _seeds(columns, over_seeds)
    settings = _settings_of(trials) if once or tied else {}
    if not once:
        for seeds in tied:
            rankings |= _in_one_order({study: rankings[study] for study in seeds}, settings)
        return [{study: rankings[study] for study in group} for group in groups]
    return [_in_one_order(group, settings) for group in groups]


def _rankings(
    rules: Iterable[str],
    studies: Mapping[str, Mapping[str, Any]],
    trials: pd.DataFrame,
    evaluations: pd.DataFrame,
) -> dict[str, Rankings]:
    """The candidates of every study, best first, by each rule."""
    found: dict[str, Rankings] = {rule: {study: [] for study in studies} for rule in rules}
    study_of = dict(zip(trials["trial"], trials["study"], strict=True))
    for own_trials, own in _alike(studies, trials, evaluations):
        for rule, rankings in found.items():
            for candidate in rank(RULES[rule], own_trials, own):
                rankings[study_of[candidate.trial]].append(candidate)
    return found


def _alike(
    studies: Mapping[str, Mapping[str, Any]], trials: pd.DataFrame, evaluations: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Trials and evaluations of studies with the same source domains, which rules take at once.

    One study at a time, ten methods over 10,000 trials take half a minute.
    """
    read = [name for name in _READ if name in evaluations]
    for names in _grouped(studies, "sweep", "dataset", "held_out"):
        own = evaluations.loc[evaluations["study"].isin(names), read].copy()
        # As categories of these alone: else each look-up of a trial walks through all trials.
        own["trial"] = own["trial"].astype("category").cat.remove_unused_categories()
        yield trials[trials["study"].isin(names)], own


def _winner(candidates: Sequence[Candidate], why: str | None) -> dict[str, Any]:
    """The selection columns of a study that chooses for itself."""
    if not candidates:
        return {"reason": why}
    best = candidates[0]
    ties = sum(candidate.validation == best.validation for candidate in candidates) - 1
    return {**vars(best), "candidates": len(candidates), "ties": ties}


def _datasets(columns: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The studies that share a setting: those of one dataset, model and algorithm."""
    return _grouped(columns, "dataset", "model", "algorithm")


def _seeds(
    columns: Mapping[str, Mapping[str, Any]], over_seeds: Collection[str]
) -> list[list[str]]:
    """The studies of these sweeps that differ in their seed only."""
    own = {study: values for study, values in columns.items() if values["sweep"] in over_seeds}
    return _grouped(own, "sweep", "dataset", "model", "algorithm", "held_out")


def _grouped(columns: Mapping[str, Mapping[str, Any]], *names: str) -> list[list[str]]:
    """The studies that have the same in these columns."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for study, values in columns.items():
        groups.setdefault(tuple(values[name] for name in names), []).append(study)
    return list(groups.values())


def _settings_of(trials: pd.DataFrame) -> dict[str, Setting]:
    """Trial -> its setting: the columns `hp_*`, None for what its algorithm lacks."""
    values = trials.filter(regex="^hp_").astype(object)
    values = values.where(values.notna(), None)
    return dict(zip(trials["trial"], values.itertuples(index=False, name=None), strict=True))


def _one_setting_each(
    groups: Iterable[Sequence[str]],
    rankings: Rankings,
    settings: Mapping[str, Setting],
    why: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Study -> the selection columns of the setting that its group of studies shares.

    settings: that of each trial. why: the reason of each study without candidates.
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
    reason = f"no setting completed in all {_count(len(rankings))}"
    ordered = _in_one_order(rankings, settings)
    return {study: _winner(candidates, reason) for study, candidates in ordered.items()}


def _in_one_order(rankings: Rankings, settings: Mapping[str, Setting]) -> Rankings:
    """The candidates whose setting every study has completed, the best setting first in each.

    Their validation is the mean over the studies.
    """
    by_study: dict[str, dict[Setting, Candidate]] = {study: {} for study in rankings}
    for study, candidates in rankings.items():
        for candidate in candidates:
            # A setting that was tried twice gave the same twice; the first is the larger number.
            by_study[study].setdefault(settings[candidate.trial], candidate)
    first, *others = by_study.values()
    shared = [setting for setting in first if all(setting in other for other in others)]
    scores = {
        setting: float(np.mean([found[setting].validation for found in by_study.values()]))
        for setting in shared
    }
    # Among equals the largest number in the first study, as in a study of its own.
    shared.sort(key=lambda setting: (scores[setting], first[setting].number), reverse=True)
    return {
        study: [replace(found[setting], validation=scores[setting]) for setting in shared]
        for study, found in by_study.items()
    }


def _count(studies: int) -> str:
    return f"{studies} studies" if studies > 1 else "1 study"
