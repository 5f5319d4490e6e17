"""The candidates of a study, ranked by a rule of selection.

Candidates are the completed trials. A pruned trial was stopped because trials of its own study had
a better best-so-far value at the same step, and the best of those goes on to the end: leaving
pruned trials out loses no winner of the search objective. (By leave-one-domain-out the pruner saw
fewer folds than all, so a pruned trial might have won over all.) A diverged trial (NaN) is not a
usable setting, whatever it reached before. A failed trial has no result. A frozen trial may still
be trained further, and has none yet.

The result of a trial with averaged weights is these weights, so only their evaluations count; of
one with a second stage (training.retrain) its weights, with the validation of the first.
Pruners compared the weights on the way there, so with averaging a pruned trial might have won.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from search.errors import SteppeError
from search.results.selection_rules import Rule
from search.run.columns import FINAL_WEIGHTS, FROZEN
from search.space.ranges import show_number

_Scores = dict[str, dict[str, tuple[float, int]]]  # split -> domain -> accuracy, images


@dataclass(frozen=True)
class Candidate:
    """A trial, the step that counts as its result, and its scores there (fractions).

    validation: what ranked it. accuracy: on the held-out domain's in split, as DomainBed reports
    it. accuracy_all: on both its splits, weighted by their images. Both are means over the domains
    if a set of them is held out, and None if the trial was not scored there at that step, as
    `reason` says. accuracies: the in split of each domain of a set, in the order of its name; None
    of a single domain.
    """

    trial: str
    number: int
    step: int
    validation: float
    accuracy: float | None
    accuracy_all: float | None
    reason: str | None = None
    accuracies: tuple[float, ...] | None = None


def rank(rule: Rule, trials: pd.DataFrame, evaluations: pd.DataFrame) -> list[Candidate]:
    """All candidates among these trials, best first; of equals the largest number is first."""
    candidates = trials.loc[trials["state"] == "completed", ["trial", "number"]]
    rows = result_rows(evaluations[evaluations["trial"].isin(candidates["trial"])])
    best = rule.best(rows)[["trial", "step", "validation"]]
    best = candidates.astype({"trial": object}).merge(best.astype({"trial": object}), on="trial")
    best = best.sort_values(["validation", "number"], ascending=False)
    held_out = _held_out_scores(rows, best)
    return [
        _candidate(trial, int(number), int(step), float(validation), held_out.get(trial, {}))
        for trial, number, step, validation in best[
            ["trial", "number", "step", "validation"]
        ].itertuples(index=False)
    ]


def result_rows(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The rows of the weights that are a trial's result: averaged or retrained ones, if it has."""
    if "weights" not in evaluations:
        return evaluations
    for kind in reversed(FINAL_WEIGHTS):
        own = evaluations["weights"] == kind
        if own.any():
            having = evaluations.loc[own, "trial"].unique()
            evaluations = evaluations[own | ~evaluations["trial"].isin(having)]
    return evaluations


def why_none(rule: Rule, trials: pd.DataFrame) -> str:
    """Why a study with these trials has no candidate."""
    states = trials["state"].value_counts()
    states = states[states > 0]
    if states.empty:
        return "no trial has finished"
    if "completed" in states.index:
        return f"no completed trial has {rule.needs}"
    passive = states.index[0] in ("pruned", FROZEN)
    if len(trials) == 1:
        return f"the only trial {'was ' * passive}{states.index[0]}"
    if len(states) == 1:
        return f"all {len(trials)} trials {'were ' * passive}{states.index[0]}"
    parts = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"none of {len(trials)} trials completed: {parts}"


def _held_out_scores(rows: pd.DataFrame, best: pd.DataFrame) -> dict[str, _Scores]:
    """Trial -> its scores on the held-out domain at its step in `best`."""
    held_out = rows[(rows["role"] == "held_out") & rows["accuracy"].notna()]
    step = held_out["trial"].astype(object).map(best.set_index("trial")["step"])
    held_out = held_out[held_out["step"].to_numpy() == step.to_numpy()]
    scores: dict[str, _Scores] = {}
    for trial, domain, split, accuracy, count in held_out[
        ["trial", "domain", "split", "accuracy", "count"]
    ].itertuples(index=False):
        own = scores.setdefault(trial, {}).setdefault(split, {})
        own[str(domain)] = (accuracy, count)
    # The mean over some domains of a set would be another number.
    domains = set(rows.loc[rows["role"] == "held_out", "domain"])
    return {
        trial: {split: own for split, own in splits.items() if own.keys() == domains}
        for trial, splits in scores.items()
    }


def _candidate(trial: str, number: int, step: int, validation: float, scores: _Scores) -> Candidate:
    inside = [accuracy for _, (accuracy, _) in sorted(scores.get("in", {}).items())]
    if not inside:
        why = f"trial {number} has no held-out accuracy at step {step}"
        return Candidate(trial, number, step, validation, None, None, why)
    accuracy_all = None
    if "out" in scores:
        both = zip(scores["in"].values(), (scores["out"][d] for d in scores["in"]), strict=True)
        accuracy_all = _mean([(i * many + o * few) / (many + few) for (i, many), (o, few) in both])
    several = tuple(inside) if len(inside) > 1 else None
    accuracy = _mean(inside)
    return Candidate(trial, number, step, validation, accuracy, accuracy_all, None, several)


def _mean(accuracies: list[float]) -> float:
    return accuracies[0] if len(accuracies) == 1 else float(np.mean(accuracies))


def within_passes(evaluations: pd.DataFrame, passes: float) -> pd.DataFrame:
    """The evaluations that a training run reached within so many forward and backward passes.

    A trial with averaged weights has only their evaluations, so none if its average came later.
    Each fold is a run of its own. Raises SteppeError for a limit that is not above 0, and for
    tables without passes.
    """
    if not passes > 0:
        raise SteppeError(f"--passes {show_number(passes)}: it must be above 0")
    if "passes" not in evaluations or evaluations["passes"].isna().any():
        raise SteppeError(
            "these tables have no passes: they were written by a commit that did not count them, "
            "so they cannot be read at equal cost"
        )
    kept = evaluations["passes"] <= passes
    averaged = evaluations["weights"].isin(FINAL_WEIGHTS)
    late = evaluations.loc[averaged & ~kept, "trial"].unique()
    found: pd.DataFrame = evaluations[kept & ~evaluations["trial"].isin(late)]
    return found
