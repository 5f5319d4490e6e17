"""What stands below a table of results: what is missing from it, and what a reader should mind."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from search.results.selection import PER_DATASET, rule_of
from search.results.selection_rules import RULES

MANY = 3  # studies of an algorithm that are counted, and no longer named


def about_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """What selection methods mean that a title cannot say."""
    rules = dict.fromkeys(rule for rule, _ in map(rule_of, methods))
    peeking = [rule for rule in rules if RULES[rule].peeks]
    notes = []
    if peeking:
        looks = "looks" if len(peeking) == 1 else "look"
        notes.append(
            f"{' and '.join(peeking)} {looks} at the held-out domain: an upper bound, no result"
        )
    if len(methods) > 1 and any(method.endswith(PER_DATASET) for method in methods):
        notes.append(
            f"{PER_DATASET.removeprefix('-')}: one setting for all held-out domains and seeds; "
            "the other methods choose for each"
        )
    return tuple(notes)


def about_studies(rows: pd.DataFrame) -> tuple[str, ...]:
    """What is missing from a table, ties and failed trials; `rows`: its part of the selection."""
    return (*_missing(rows), *_shared(rows), *_ties(rows), *_failed(rows))


def _missing(rows: pd.DataFrame) -> list[str]:
    """Which studies have no accuracy, and why: a line each, or one where many share a reason."""
    asked = [
        (domain, seed)
        for domain in dict.fromkeys(rows["held_out"])
        for seed in dict.fromkeys(rows["seed"])
    ]
    notes = []
    for algorithm, group in rows.groupby("algorithm", sort=False, observed=True):
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
            if len(missing) > MANY:
                notes.append(f"{algorithm}, {len(missing)} of {len(asked)} studies: {reason}")
            else:
                notes += [
                    f"{algorithm}, {domain}, seed {seed}: {reason}" for domain, seed in missing
                ]
    if any(" has no held-out accuracy at step " in note for note in notes):
        notes.append("with training.evaluations: all every step has a held-out accuracy")
    return notes


def _shared(rows: pd.DataFrame) -> list[str]:
    """Among how many settings one was chosen for all studies."""
    once = rows[rows["method"].astype(str).str.endswith(PER_DATASET) & rows["trial"].notna()]
    counts = once.groupby("algorithm", sort=False, observed=True)["candidates"].first()
    if counts.empty:
        return []
    listed = ", ".join(f"{algorithm} {count}" for algorithm, count in counts.items())
    return [f"settings that all studies completed, to choose among: {listed}"]


def _ties(rows: pd.DataFrame) -> list[str]:
    tied = rows[rows["ties"].fillna(0) > 0]
    counts = tied.groupby("algorithm", sort=False, observed=True).size()
    if counts.empty:
        return []
    of = rows["algorithm"].value_counts().to_dict()
    listed = ", ".join(f"{name} {count} of {of[name]}" for name, count in counts.items())
    return [f"winners whose score another trial equals (the largest number counts): {listed}"]


def _failed(rows: pd.DataFrame) -> list[str]:
    counts = rows.groupby("algorithm", sort=False, observed=True)["failed"].sum()
    counts = counts[counts > 0]
    if counts.empty:
        return []
    listed = ", ".join(f"{algorithm} {count}" for algorithm, count in counts.items())
    return [f"trials that failed, and could not be chosen: {listed}"]
