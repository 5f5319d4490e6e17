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

from functools import cached_property

import numpy as np
import pandas as pd

from search.errors import SteppeError
from search.results.selection_rules import Rule, Scores
from search.run.columns import FINAL_WEIGHTS, FROZEN
from search.space.ranges import show_number

_READ = ["step", "weights", "domain", "role", "split", "accuracy", "count"]


class Candidates:
    """The completed trials of studies with their evaluations, from which rules choose.

    In the frames below a study is its place in `studies`, and a trial its place in `names`.

    studies: the columns of search.run.columns.STUDY_COLUMNS, a row per study.
    """

    def __init__(
        self, studies: pd.DataFrame, trials: pd.DataFrame, evaluations: pd.DataFrame
    ) -> None:
        study = pd.Index(studies["study"]).get_indexer(trials["study"])
        done = (trials["state"] == "completed").to_numpy() & (study >= 0)
        self.names = trials.loc[done, "trial"].to_numpy(object)
        self._trials = pd.DataFrame(
            {
                "study": study[done],
                "number": trials.loc[done, "number"].to_numpy(int),
                "setting": _settings(trials[done]),
            }
        )
        # Studies with the same source domains.
        alike = numbered(studies, "sweep", "dataset", "held_out")[study[done]]
        trial = pd.Index(self.names).get_indexer(evaluations["trial"])
        own, trial = trial >= 0, trial[trial >= 0]
        read = [name for name in _READ if name in evaluations]
        rows = evaluations.loc[own, read].assign(trial=trial, alike=alike[trial])
        self.scores = Scores(result_rows(rows))

    def ranked(self, rule: Rule) -> pd.DataFrame:
        """study, trial, number, setting, step and validation of all candidates.

        By study, the best first; of equals the largest number is first.
        """
        best = rule.best(self.scores)
        found = self._trials.take(best["trial"].to_numpy(int)).assign(
            **{name: best[name].to_numpy() for name in ("trial", "step", "validation")}
        )
        order = np.lexsort((-found["number"], -found["validation"], found["study"]))
        return found.iloc[order].reset_index(drop=True)

    def with_accuracies(self, chosen: pd.DataFrame) -> pd.DataFrame:
        """The chosen trials with their scores on the held-out domain, at the step of each row.

        Columns added, fractions:
        accuracy: on the held-out domain's in split, as DomainBed reports it
        accuracy_all: on both its splits, weighted by their images
        accuracies: the in split of each domain of a set, in the order of its name; else None
        Both accuracies are means over the domains if a set of them is held out, and NaN if the
        trial was not scored there at that step; then `reason` says so.
        """
        at = chosen[["trial", "step"]].drop_duplicates()
        found = chosen.merge(self._held_out_scores(at), how="left", on=["trial", "step"])
        names = zip(found["number"], found["step"], found["accuracy"].isna(), strict=True)
        found["reason"] = [
            f"trial {number} has no held-out accuracy at step {step}" if missing else None
            for number, step, missing in names
        ]
        return found

    @cached_property
    def _held_out(self) -> pd.DataFrame:
        """The rows on held-out domains, and the number of these that a trial has, `domains`."""
        rows = self.scores.evaluations
        rows = rows[rows["role"] == "held_out"]
        domains = rows.groupby("alike")["domain"].nunique()
        return rows[rows["accuracy"].notna()].assign(domains=rows["alike"].map(domains))

    def _held_out_scores(self, at: pd.DataFrame) -> pd.DataFrame:
        """The scores of `with_accuracies`, by trial and step, where all domains have one."""
        rows = self._held_out.merge(at, on=["trial", "step"])
        rows = rows[["trial", "step", "domain", "split", "accuracy", "count", "domains"]]
        inside, out = rows[rows["split"] == "in"], rows[rows["split"] == "out"]
        both = inside.merge(out, how="left", on=["trial", "step", "domain"], suffixes=("", "_out"))
        # The mean over some domains of a set would be another number.
        scored = both.groupby(["trial", "step"])["domain"].transform("size")
        both = both[scored == both["domains"]].sort_values(["trial", "step"], kind="stable")
        found: list[pd.DataFrame] = []
        for count in both["domains"].unique().tolist():
            own = both[both["domains"] == count]
            of_each = (len(own) // count, count)  # [trials, domains]
            images, images_out = own["count"], own["count_out"]
            hits = own["accuracy"] * images + own["accuracy_out"] * images_out
            every = (hits / (images + images_out)).to_numpy().reshape(of_each)
            accuracy = own["accuracy"].to_numpy().reshape(of_each)
            by_name = own["domain"].to_numpy(str).reshape(of_each).argsort(axis=1)
            accuracy = np.take_along_axis(accuracy, by_name, axis=1)
            one = own[["trial", "step"]].iloc[::count]
            found.append(
                one.assign(
                    accuracy=accuracy.mean(axis=1),
                    accuracy_all=every.mean(axis=1),
                    accuracies=[tuple(row) if count > 1 else None for row in accuracy],
                )
            )
        columns = ["trial", "step", "accuracy", "accuracy_all", "accuracies"]
        if not found:
            found = [pd.DataFrame(columns=columns, dtype=float).astype({"accuracies": object})]
        return pd.concat(found)


def numbered(studies: pd.DataFrame, *columns: str) -> np.ndarray:
    """A number for each study; those that have the same in these columns share it."""
    return studies.groupby([*columns], sort=False).ngroup().to_numpy()


def _settings(trials: pd.DataFrame) -> np.ndarray:
    """A number for the setting of each trial, the columns `hp_*`; equal ones share it."""
    found = np.zeros(len(trials), int)
    for _, values in trials.filter(regex="^hp_").items():
        own, different = pd.factorize(values)  # -1: its algorithm lacks it
        found = pd.factorize(found * (len(different) + 1) + own + 1)[0]
    return found


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


def how_ended(trials: pd.DataFrame) -> str:
    """How the trials of a study without a completed one ended."""
    states = trials["state"].value_counts()
    states = states[states > 0]
    passive = states.index[0] in ("pruned", FROZEN)
    if len(trials) == 1:
        return f"the only trial {'was ' * passive}{states.index[0]}"
    if len(states) == 1:
        return f"all {len(trials)} trials {'were ' * passive}{states.index[0]}"
    parts = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"none of {len(trials)} trials completed: {parts}"


def within_passes(evaluations: pd.DataFrame, passes: float) -> pd.DataFrame:
    """The evaluations that a training run reached within this many forward and backward passes.

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
