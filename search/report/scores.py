"""What each completed trial reached, on the domains it saw and on the one it did not."""

from __future__ import annotations

import pandas as pd

_FLATNESS = ["sharpness", "curvature"]


def scores(trials: pd.DataFrame, evaluations: pd.DataFrame) -> pd.DataFrame:
    """The completed trials, with scores of their selected weights added.

    Columns added: validation, the mean accuracy over the source domains' out splits, and its
    distance `below` the best of the study's completed trials (<= 0); accuracy on the held-out
    domain's in split and its distance `accuracy_below`; sharpness and curvature, means over source
    domains. NaN where not measured. Fractions. Weights are those at `best_step`; with
    averaging, the average.
    """
    done = trials[trials["state"] == "completed"].copy()
    rows = evaluations[evaluations["trial"].isin(done["trial"])]
    step = rows["trial"].astype(object).map(done.set_index("trial")["best_step"])
    rows = rows[rows["step"].to_numpy() == step.astype("Float64").to_numpy(float, na_value=-1)]
    held_out = spoken(rows[(rows["role"] == "held_out") & (rows["split"] == "in")])
    source = spoken(rows[(rows["role"] == "source") & (rows["split"] == "in")])
    flatness = source.reindex(columns=_FLATNESS).groupby(source["trial"].astype(object)).mean()
    names = done["trial"].astype(object)
    validated = spoken(rows[(rows["role"] == "source") & (rows["split"] == "out")])
    accuracy = validated.groupby(validated["trial"].astype(object))["accuracy"].mean()
    done["validation"] = names.map(accuracy)
    done["accuracy"] = names.map(held_out.set_index("trial")["accuracy"].astype(float))
    for column in _FLATNESS:
        done[column] = names.map(flatness[column])
    done["below"] = _below_best(done, "validation")
    done["accuracy_below"] = _below_best(done, "accuracy")
    return done


def spoken(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the iterates where the same step has an average, which speaks for its trial."""
    if "weights" not in rows:  # tables from before there were averages
        return rows
    keys = ["trial", "step", "domain", "split"]
    ordered = rows.assign(_average=rows["weights"].astype(object) == "average")
    ordered = ordered.sort_values("_average", kind="stable").drop_duplicates(keys, keep="last")
    return ordered.drop(columns="_average").sort_index()


def _below_best(done: pd.DataFrame, column: str) -> pd.Series:
    return done[column] - done.groupby("study", observed=True)[column].transform("max")
