"""The trials of runs with their validation and held-out accuracies, to be compared as points."""

from __future__ import annotations

import pandas as pd

from search.run.columns import FINAL_WEIGHTS

_FLATNESS = ["sharpness", "curvature"]
_SCORES = ["validation", "validation_images", "accuracy", "images"]


def scored(trials: pd.DataFrame, evaluations: pd.DataFrame) -> pd.DataFrame:
    """The completed trials, with scores of their selected weights added.

    Columns added: validation, the mean accuracy over the source domains' out splits, and its
    distance `below` the best of the study's completed trials (<= 0); accuracy on the held-out
    domain's in split and its distance `accuracy_below`; validation_images and images, how many
    images these two were measured on; sharpness and curvature, means over source domains. NaN where
    not measured. Fractions. Weights are those at `best_step`; with averaging, the average.
    """
    done = trials[trials["state"] == "completed"].copy()
    rows = evaluations[evaluations["trial"].isin(done["trial"])]
    step = rows["trial"].astype(object).map(done.set_index("trial")["best_step"])
    rows = rows[rows["step"].to_numpy() == step.astype("Float64").to_numpy(float, na_value=-1)]
    rows = one_per_split(rows).astype({"trial": object})
    source = rows[(rows["role"] == "source") & (rows["split"] == "in")]
    flatness = source.reindex(columns=["trial", *_FLATNESS]).groupby("trial").mean()
    found = _both(rows, ["trial"])
    names = done["trial"].astype(object)
    for column in _SCORES:
        done[column] = names.map(found[column]).astype(float)
    for column in _FLATNESS:
        done[column] = names.map(flatness[column])
    done["below"] = _below_best(done, "validation")
    done["accuracy_below"] = _below_best(done, "accuracy")
    return done


def alike(trials: pd.DataFrame, evaluations: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Trials of each study with validation and held-out accuracy that may be compared.

    Where trials were pruned, those that completed are the best by validation, among which it can
    say little. If the pruned ones were scored on the held-out domain too, all trials of the study
    are compared, as iterates, at the highest step that nine in ten of them reached. Else only the
    completed ones are, at their selected steps, as in a study without pruning.

    scores: see `scored`. Columns: those of trials, validation, accuracy and their images, `at`, the
    common step (NaN at selected steps), and `of`, the number of the study's trials.
    """
    of = trials["study"].astype(object).value_counts()
    pruned = trials[trials["state"] == "pruned"]
    rows = evaluations[evaluations["study"].isin(pruned["study"].unique())]
    if "weights" in rows:
        rows = rows[~rows["weights"].isin(FINAL_WEIGHTS)]
    rows = rows.astype({"trial": object, "study": object})
    both = _both(rows, ["study", "trial", "step"]).dropna().reset_index()
    whole = both[both["trial"].isin(pruned["trial"].astype(object))]["study"].unique()
    both = both[both["study"].isin(whole)]
    reached = both.groupby(["study", "step"])["trial"].nunique().rename("reached").reset_index()
    most = reached.groupby("study")["reached"].transform("max")
    enough = reached[reached["reached"] >= 0.9 * most]
    at = enough.groupby("study")["step"].max()
    both = both[both["step"] == both["study"].map(at)].set_index("trial")
    names = trials["trial"].astype(object)
    common = trials[names.isin(both.index)].copy()
    for column in _SCORES:
        common[column] = common["trial"].astype(object).map(both[column]).astype(float)
    common["at"] = common["study"].astype(object).map(at).astype(float)
    selected = scores[~scores["study"].isin(whole)].assign(at=float("nan"))
    found = pd.concat([selected[common.columns], common]) if len(common) else selected
    found = found[found["validation"].notna() & found["accuracy"].notna()].sort_index()
    return found.assign(of=found["study"].astype(object).map(of))


def one_per_split(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each trial, step, domain and split: of several, that of the trial's result.

    These are the retrained weights before the average, and the average before the iterate.
    """
    if "weights" not in rows:  # tables from before there were averages
        return rows
    keys = ["trial", "step", "domain", "split"]
    order = {kind: place for place, kind in enumerate(FINAL_WEIGHTS, 1)}
    ordered = rows.assign(_order=rows["weights"].astype(object).map(order).fillna(0))
    ordered = ordered.sort_values("_order", kind="stable").drop_duplicates(keys, keep="last")
    return ordered.drop(columns="_order").sort_index()


def _both(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Validation, held-out accuracy and the images of both, by `keys`; NaN where one is missing.

    The held-out accuracy is that of the in split, as DomainBed reports it.
    """
    source = rows[(rows["role"] == "source") & (rows["split"] == "out")].groupby(keys)
    held_out = rows[(rows["role"] == "held_out") & (rows["split"] == "in")].groupby(keys)
    parts = (
        part.agg(**{name: ("accuracy", "mean"), images: ("count", "sum")})
        for part, name, images in (
            (source, "validation", "validation_images"),
            (held_out, "accuracy", "images"),
        )
    )
    return pd.concat(parts, axis=1)


def _below_best(done: pd.DataFrame, column: str) -> pd.Series:
    return done[column] - done.groupby("study")[column].transform("max")
