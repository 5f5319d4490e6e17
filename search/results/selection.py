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

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from search.errors import SteppeError, way_out
from search.results.candidates import Candidates, how_ended, numbered
from search.results.selection_rules import RULES
from search.run.columns import STUDY_COLUMNS, selection_schema, to_pandas
from search.sweep.schema import Sweep

PER_DATASET = "-per-dataset"
METHODS = (*RULES, *(f"{name}{PER_DATASET}" for name in RULES))


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
    asked = _frame_of([*studies, *begun])
    candidates = Candidates(asked, trials, evaluations)
    rankings = {rule: candidates.ranked(RULES[rule]) for rule in dict(rules.values())}
    ended = _how_ended(asked["study"], trials) | dict(untried or {})
    winners: list[pd.DataFrame] = []
    losers: list[dict[str, Any]] = []
    for method, (rule, once) in rules.items():
        groups = _sharing(asked, once, over_seeds)
        won = _winners(_in_one_order(rankings[rule], groups)).assign(method=method)
        winners.append(won)
        having, sizes = {*rankings[rule]["study"]}, np.bincount(groups + 1)
        for study in sorted({*asked.index} - {*won["study"]}):
            if study in having:
                reason = f"no setting completed in all {_count(sizes[groups[study] + 1])}"
            else:
                needs = f"no completed trial has {RULES[rule].needs}"
                reason = ended.get(asked["study"][study], needs)
            losers.append({"study": study, "method": method, "reason": reason})
    won = candidates.with_accuracies(pd.concat(winners))
    won["trial"] = candidates.names[won["trial"]]
    # As a whole number that can be missing: a float holds no large one.
    whole = dict.fromkeys(("number", "step", "candidates", "ties"), "Int64")
    lost = pd.DataFrame(losers, columns=["study", "method", "reason"])
    rows = pd.concat([won.astype(whole), lost]).set_index(["study", "method"])
    rows = rows.reindex(pd.MultiIndex.from_product([asked.index, rules])).reset_index(
        names=["place", "method"]
    )
    failed = trials.loc[trials["state"] == "failed", "study"].astype(str).value_counts()
    rows = rows.join(asked, on="place")
    rows["failed"] = rows["study"].map(failed).fillna(0).astype("int64")
    schema = selection_schema({})
    table = [pa.array(rows[field.name], field.type, from_pandas=True) for field in schema]
    selection = to_pandas(pa.Table.from_arrays(table, schema=schema))
    hyperparameters = trials.set_index("trial").filter(regex="^hp_").reindex(selection["trial"])
    return pd.concat([selection, hyperparameters.reset_index(drop=True)], axis=1)


def ranked(
    method: str,
    trials: pd.DataFrame,
    evaluations: pd.DataFrame,
    studies: Iterable[Mapping[str, Any]],
    over_seeds: Collection[str] = (),
) -> pd.DataFrame:
    """The candidates of every study by a method, a row each, best first in each study.

    The columns are study, trial, number, step, validation, accuracy and more: see
    search.results.candidates. By a method `...-per-dataset`, all studies of a (dataset, model,
    algorithm) have the same settings in the same order. studies: the study columns of all studies.
    over_seeds: see `over_seeds_of`. Raises SteppeError for an unknown method.
    """
    rule, once = rule_of(method)
    asked = _frame_of(studies)
    candidates = Candidates(asked, trials, evaluations)
    order = _in_one_order(candidates.ranked(RULES[rule]), _sharing(asked, once, over_seeds))
    found = candidates.with_accuracies(order)
    names = asked["study"].to_numpy(object)
    return found.assign(study=names[found["study"]], trial=candidates.names[found["trial"]])


def _frame_of(studies: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The study columns, a row for each study."""
    rows = {study["study"]: [study[name] for name in STUDY_COLUMNS] for study in studies}
    return pd.DataFrame(list(rows.values()), columns=list(STUDY_COLUMNS))


def _sharing(studies: pd.DataFrame, once: bool, over_seeds: Collection[str]) -> np.ndarray:
    """The group of studies with which each shares its setting; -1 for one that chooses for itself.

    once: one setting for the studies of a (dataset, model, algorithm). Else those that differ in
    their seed only share theirs, in these sweeps.
    """
    if once:
        return numbered(studies, "dataset", "model", "algorithm")
    groups = numbered(studies, "sweep", "dataset", "model", "algorithm", "held_out")
    return np.where(studies["sweep"].isin([*over_seeds]), groups, -1)


def _winners(rankings: pd.DataFrame) -> pd.DataFrame:
    """The first of each study, how many candidates it had, and others with the same score."""
    scores = rankings.groupby("study")["validation"]
    alike = (rankings["validation"] == scores.transform("first")).groupby(rankings["study"])
    found = rankings.assign(candidates=scores.transform("size"), ties=alike.transform("sum") - 1)
    return found.drop_duplicates("study")


def _in_one_order(rankings: pd.DataFrame, groups: np.ndarray) -> pd.DataFrame:
    """The candidates whose setting all studies of a group have completed, the best setting first.

    Their validation is the mean over the studies. Those of studies in no group stay as they are.
    """
    group = groups[rankings["study"]]
    # A setting that was tried twice gave the same twice; the first is the larger number.
    own = rankings.assign(group=group)[group >= 0].drop_duplicates(["study", "setting"])
    studies = np.bincount(groups + 1)[own["group"] + 1]
    whole = own.groupby(["group", "setting"])["study"].transform("size") == studies
    own = own.assign(studies=studies)[whole].sort_values(["group", "setting", "study"])
    score, first = own["validation"].to_numpy(copy=True), own["number"].to_numpy(copy=True)
    for count in own["studies"].unique():
        here = (own["studies"] == count).to_numpy()
        score[here] = np.repeat(score[here].reshape(-1, count).mean(axis=1), count)
        first[here] = np.repeat(first[here].reshape(-1, count)[:, 0], count)
    # Among equals the largest number in the first study, as in a study of its own.
    order = np.lexsort((-first, -score, own["study"]))
    shared = own.assign(validation=score).iloc[order].drop(columns=["group", "studies"])
    return pd.concat([rankings[group < 0], shared], ignore_index=True)


def _how_ended(studies: pd.Series, trials: pd.DataFrame) -> dict[str, str]:
    """Why each study without a completed trial has no winner."""
    completed = trials.loc[trials["state"] == "completed", "study"].unique()
    others = trials[~trials["study"].isin(completed)].groupby("study", sort=False)
    found = dict.fromkeys(set(studies) - set(completed), "no trial has finished")
    return found | {str(study): how_ended(own) for study, own in others}


def _count(studies: int) -> str:
    return f"{studies} studies" if studies > 1 else "1 study"
