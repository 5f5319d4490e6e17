"""The notes below a table: what is missing from it, how its runs searched, and what to mind."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from search.results.loading import LoadedRun, ranges_of
from search.results.selection import PER_DATASET, rule_of
from search.results.selection_rules import RULES
from search.run.columns import FINAL_WEIGHTS
from search.space.published_settings import published_for
from search.space.ranges import Fixed, Range, Value, value_in
from search.study.budgets import has_limit
from search.sweep.schema import Sweep

MOST_NAMED = 3  # studies of an algorithm that a note names; more are counted
_TIED = "; the errors over seeds leave out the luck of the search"


def about_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """What a title cannot say of selection methods."""
    rules = dict.fromkeys(rule for rule, _ in map(rule_of, methods))
    looking = [rule for rule in rules if RULES[rule].oracle]
    notes = []
    if looking:
        looks = "looks" if len(looking) == 1 else "look"
        notes.append(
            f"{' and '.join(looking)} {looks} at the held-out domain: an upper bound, no result"
        )
    once = [method for method in methods if method.endswith(PER_DATASET)]
    if once:
        notes.append(
            f"{' and '.join(once)}: the setting of all studies was chosen with validation in each, "
            "so also where a domain that another holds out was trained and validated on"
        )
    if len(methods) > 1 and any(method.endswith(PER_DATASET) for method in methods):
        notes.append(
            f"{PER_DATASET.removeprefix('-')}: one setting for all held-out domains and seeds; "
            "the other methods choose for each held-out domain"
        )
    return tuple(notes)


def about_studies(rows: pd.DataFrame) -> tuple[str, ...]:
    """What is missing from a table, ties and failed trials; `rows`: its part of the selection."""
    return (*_missing(rows), *_shared(rows), *_ties(rows), *_failed(rows))


def about_search(run: LoadedRun, trials: pd.DataFrame) -> list[str]:
    """Notes below every table of a run: where the settings that it tried came from.

    They say whether labels of held-out domains shaped them, and what else ties its studies to each
    other or to earlier runs. `trials`: those of the run.
    """
    search = run.sweep.search
    notes = [f"not the honest protocol, {why}" for why in run.shaped]
    if not run.weights_known:
        notes.append(
            f"what {run.sweep.model.weights} was trained on is not known here; if a held-out "
            "domain was among it, these numbers are no results"
        )
    if search.warm_start is not None:
        earlier = ", ".join(search.warm_start.runs)
        notes.append(f"began with settings of {earlier}, whose cost is not counted here")
    if search.share == "seeds":
        notes.append(f"seeds share settings while they search{_TIED}")
    if search.seed_reduction:
        counts = trials.groupby("seed")["number"].nunique()
        listed = ", ".join(f"seed {seed} {counts.get(seed, 0)}" for seed in run.sweep.seeds)
        notes.append(
            "each later seed tries again the best settings of the seed before it, one in "
            f"{search.seed_reduction} (most in a study: {listed}){_TIED}"
        )
    if search.objective_over == "seeds":
        notes.append(
            "search.objective_over: seeds: a held-out domain's setting was searched for and chosen "
            f"for all seeds together, by its mean validation over them{_TIED}"
        )
    return [f"{run.name}: {note}" for note in notes]


def about_pruning(
    run: LoadedRun, studies: Iterable[Mapping[str, Any]], evaluations: pd.DataFrame
) -> list[str]:
    """The notes below every table of a run whose trials' results are other weights than iterates.

    studies: the study columns of the table. evaluations: those of early commits lack `weights`.
    """
    if "weights" not in evaluations:
        return []
    stages = []
    if (evaluations["weights"] == "retrained").any():
        stages.append(
            f"{run.name}: training.retrain: all-images trained the results again on all images of "
            "the source domains, so they have no validation of their own; the one shown is that of "
            "the first stage"
        )
    if run.sweep.search.scheduler == "none":
        return stages
    averaged = set(evaluations.loc[evaluations["weights"].isin(FINAL_WEIGHTS), "study"])
    names = dict.fromkeys(s["algorithm"] for s in studies if s["study"] in averaged)
    if not names:
        return stages
    return [
        *stages,
        f"{run.name}: {run.sweep.search.scheduler} compared the iterates of {', '.join(names)}, "
        "not the averages or retrained weights that are the results",
    ]


def about_published(
    run: LoadedRun, studies: Iterable[Mapping[str, Any]], trials: pd.DataFrame
) -> list[str]:
    """The note below every table of a run that tried settings published for one of its datasets.

    Papers chose these with results on all domains of the dataset, also those held out here.
    studies: the study columns of the table. trials: those of the run. A grid is the user's choice.
    """
    here = {study["study"] for study in studies}
    found: list[str] = []
    for own, study in run.studies.items() if run.sweep.search.sampler != "grid" else ():
        settings = published_for(own.dataset)
        if settings and study.id in here and study.dataset not in found:
            ranges = ranges_of(run.sweep, own.algorithm)
            rows = trials[trials["study"] == study.id]
            if any(_tried(setting, ranges, rows) for setting in settings):
                found.append(study.dataset)
    if not found:
        return []
    return [
        f"{run.name}: tried settings that were published for {', '.join(found)}, and chosen with "
        "results on all domains there, also on those held out here"
    ]


def _tried(setting: Mapping[str, Value], ranges: Mapping[str, Range], trials: pd.DataFrame) -> bool:
    """Whether a trial has all values of a setting that are searched and in their ranges."""
    wanted = {
        f"hp_{name}": value
        for name, value in setting.items()
        if name in ranges
        and not isinstance(ranges[name], Fixed)
        and value_in(ranges[name], value) is not None
    }
    same = [trials[name] == value for name, value in wanted.items() if name in trials]
    return bool(wanted) and len(same) == len(wanted) and bool(np.logical_and.reduce(same).any())


def about_ending(
    run: LoadedRun, studies: Iterable[Mapping[str, Any]], trials: pd.DataFrame
) -> list[str]:
    """Notes below every table of a run that a budget ended, or whose studies may end early.

    studies: the study columns of the table. trials: those of the run.
    """
    search = run.sweep.search
    notes = [f"{run.name}: ended by its budget, {limit}" for limit in run.budget if limit.reached]
    keys = ["search.study_budget"] * has_limit(dict(search.study_budget))
    keys += ["search.terminator"] * (search.terminator != "none")
    if not (notes or keys):
        return notes
    had = trials["study"].value_counts()
    counts: dict[str, list[int]] = {}
    for study in studies:
        if study["study"] in run.unfinished and not notes:
            continue  # it is going on
        counts.setdefault(study["algorithm"], []).append(int(had.get(study["study"], 0)))
    if any(count != search.trials for those in counts.values() for count in those):
        listed = ", ".join(f"{algorithm} {span(those)}" for algorithm, those in counts.items())
        of_first = " of the first seed" if search.seed_reduction else ""
        why = f" ({' and '.join(keys)})" if keys else ""
        asked = f"{search.trials} asked for{of_first}{why}"
        notes.append(f"{run.name}: trials per study, {asked}: {listed}")
    return notes


def why_untried(
    sweep: Sweep, studies: Iterable[Mapping[str, Any]], trials: pd.DataFrame, ended: Container[str]
) -> dict[str, str]:
    """Why studies ended without a trial, by study: the seed before had no setting for them.

    studies: the study columns of the sweep. ended: the names of the studies that ended.
    """
    if not sweep.search.seed_reduction:
        return {}
    tried = set(trials["study"])
    seeds = list(sweep.seeds)
    return {
        study["study"]: f"seed {seeds[seeds.index(study['seed']) - 1]} completed no trial, so no "
        "setting was tried again"
        for study in studies
        if study["study"] in ended and study["study"] not in tried
    }


def _missing(rows: pd.DataFrame) -> list[str]:
    """Which studies have no accuracy, and why: a line each, or one where many share a reason."""
    asked = [
        (domain, seed)
        for domain in dict.fromkeys(rows["held_out"])
        for seed in dict.fromkeys(rows["seed"])
    ]
    notes = []
    for algorithm, group in rows.groupby("algorithm", sort=False):
        known = {
            (row["held_out"], row["seed"]): row["reason"] if pd.isna(row["accuracy"]) else None
            for row in group.to_dict("records")
        }
        why = {study: known.get(study, "no trial has finished") for study in asked}
        studies: dict[str, list[tuple[str, int]]] = {}
        for study, reason in why.items():
            if reason is not None:
                studies.setdefault(reason, []).append(study)
        for reason, missing in studies.items():
            if len(missing) > MOST_NAMED:
                notes.append(f"{algorithm}, {len(missing)} of {len(asked)} studies: {reason}")
            else:
                notes += [
                    f"{algorithm}, {domain}, seed {seed}: {reason}" for domain, seed in missing
                ]
    if any(" has no held-out accuracy at step " in note for note in notes):
        notes.append("with training.evaluations: all every step has a held-out accuracy")
    return notes


def _shared(rows: pd.DataFrame) -> list[str]:
    """How many settings there were where one was chosen for all studies."""
    once = rows[rows["method"].astype(str).str.endswith(PER_DATASET) & rows["trial"].notna()]
    counts = once.groupby("algorithm", sort=False)["candidates"].first()
    return _listed("settings that every study completed, to choose among", counts)


def _ties(rows: pd.DataFrame) -> list[str]:
    tied = rows[rows["ties"].fillna(0) > 0]
    counts = tied.groupby("algorithm", sort=False).size()
    of = rows["algorithm"].value_counts().to_dict()
    shares = pd.Series({name: f"{count} of {of[name]}" for name, count in counts.items()})
    return _listed("winners whose score another trial equals (the largest number counts)", shares)


def _failed(rows: pd.DataFrame) -> list[str]:
    counts = rows.groupby("algorithm", sort=False)["failed"].sum()
    return _listed("trials that failed, and could not be chosen", counts[counts > 0])


def _listed(what: str, counts: pd.Series) -> list[str]:
    """One note with a count for each algorithm; none without any."""
    listed = ", ".join(f"{algorithm} {count}" for algorithm, count in counts.items())
    return [f"{what}: {listed}"] if listed else []


def span(counts: Sequence[int]) -> str:
    """`3`, or `2 to 4` where the counts differ."""
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
