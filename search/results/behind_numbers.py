"""What stands behind the numbers of a table: cost, the luck of the search, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from search.results.candidates import result_rows
from search.results.formats import Grid, Text
from search.results.selection import PER_DATASET, over_seeds_of, ranked, rule_of
from search.run.columns import STATES
from search.sweep.schema import Sweep

DRAWS = 1000
FEWEST_DRAWS = 100

_NAMES = ("dataset", "model", "algorithm")
# Column -> factor and format in tables.
_SHOWN = {
    "trials": (1, "{}"),
    "completed": (1, "{}"),
    "passes": (1, "{:,.0f}"),
    "hours": (1, "{:.3g}"),
    "selection_error": (100, "{:.1f}"),
    "oracle_gap": (100, "{:.1f}"),
    "ece": (100, "{:.1f}"),
    "nll": (1, "{:.3f}"),
}
_NOTES = (
    "trials, passes, hours: of all trials, whether they completed or not; a step of ERM is "
    "one pass, forward and backward over a batch, a step of SAM two",
    "selection error, in points: standard deviation of the average over other draws of the trials "
    "(bootstrap over trial numbers)",
    "oracle gap, in points: what the oracle's choice among the same trials has more; ece, "
    "calibration error in %, and nll, cross-entropy in nats: of the selected networks on their "
    "held-out domains",
)
_EMPTY = {
    "passes": "no passes: some trials are of a commit that did not count them",
    "oracle_gap": "no oracle gap: the oracle needs trials that were scored on the held-out domain "
    "at their last step",
    "ece": "no ece: some selected networks are of a commit that did not measure it, or were not "
    "scored on the held-out domain at the selected step",
    "nll": "no nll: some selected networks were not scored on the held-out domain at the selected "
    "step",
}


def behind(
    trials: pd.DataFrame,
    evaluations: pd.DataFrame,
    studies: Sequence[Mapping[str, Any]],
    sweeps: Mapping[str, Sweep],
    method: str,
) -> pd.DataFrame:
    """What stands behind the numbers of a selection method, a row per algorithm on a dataset.

    Columns:
    method, dataset, model, algorithm
    trials; completed, pruned, diverged, failed, frozen: trials of all studies, and of each state
    passes, hours: what all of them cost; missing if some trials do not say
    selection_error: standard deviation of the average accuracy if other trials had been drawn
    selection_why: why that is missing
    oracle_gap: average accuracy of the oracle's choice minus that of the method's
    ece, nll: expected calibration error and cross-entropy (nats) of the selected networks on the
    held-out domain's in split

    An average is the mean over held-out domains of the mean over seeds, in the studies that have a
    winner. Accuracies and errors are fractions. studies: the study columns of all studies. sweeps:
    by name. Raises SteppeError for an unknown method.

    The selection error is a bootstrap: trial numbers are drawn with replacement, as many as there
    are, the same ones for all studies of an algorithm and dataset, because a number has the same
    random setting in all of them. In each draw, the study's result is the best drawn candidate.
    Draws in which a study has none are left out.
    """
    oracle = "oracle" + PER_DATASET * rule_of(method)[1]
    means = over_seeds_of(sweeps)
    chosen, best = (ranked(name, trials, evaluations, studies, means) for name in (method, oracle))
    first, upper = (found.drop_duplicates("study").set_index("study") for found in (chosen, best))
    gaps = (upper["accuracy"] - first["accuracy"]).dropna()
    calibration = _calibration(evaluations, first)
    columns = pd.DataFrame(studies).drop_duplicates("study", keep="last").set_index("study")
    rows = []
    for names, here in columns.groupby([*_NAMES], sort=False):
        domains = here["held_out"]
        own = trials[trials["study"].isin(here.index)]
        rankings = chosen[chosen["study"].isin(here.index)]
        tied = any(_tied(sweeps[name]) for name in here["sweep"].unique())
        error, why = _selection_error(rankings, domains, own, method, tied)
        won = first["trial"][first.index.isin(here.index)]
        ece, nll = (_average(won.map(calibration[name]), domains) for name in ("ece", "loss"))
        rows.append(
            {
                "method": method,
                **dict(zip(_NAMES, names, strict=True)),
                **_cost(own),
                "selection_error": error,
                "selection_why": why,
                "oracle_gap": _average(gaps[gaps.index.isin(here.index)], domains),
                "ece": ece,
                "nll": nll,
            }
        )
    return pd.DataFrame(rows)


def grid(frame: pd.DataFrame, notes: Sequence[str] = ()) -> Grid:
    """The table of one selection method, with what its columns mean; `notes` come last."""
    same = [name for name in ("dataset", "model") if frame[name].nunique() == 1]
    names = [name for name in _NAMES if name not in same]
    rows = tuple(
        tuple(Text(str(row[name])) for name in names)
        + tuple(
            Text("" if pd.isna(row[name]) else show.format(factor * row[name]))
            for name, (factor, show) in _SHOWN.items()
        )
        for row in frame.to_dict("records")
    )
    title = ", ".join([*(str(frame[name].iloc[0]) for name in same), frame["method"].iloc[0]])
    said = [text for name, text in _EMPTY.items() if frame[name].isna().any()]
    said += [f"no selection error: {why}" for why in dict.fromkeys(frame["selection_why"]) if why]
    columns = (name.replace("_", " ") for name in _SHOWN)
    return Grid(
        f"What stands behind the numbers, {title} selection",
        (*("" if name == "algorithm" else name for name in names), *columns),
        rows,
        notes=(*_NOTES, *said, *notes),
        left=len(names),
    )


def _tied(sweep: Sweep) -> bool:
    search = sweep.search
    return search.share != "none" or bool(search.seed_reduction) or search.objective_over != "none"


def _cost(trials: pd.DataFrame) -> dict[str, Any]:
    """The number of trials, by state too, and what they cost."""
    states = trials["state"].astype(str).value_counts()
    passes = trials["passes"] if "passes" in trials else pd.Series(np.nan, trials.index)
    # A trial that failed may have ended before it could say.
    known = not passes[trials["state"] != "failed"].isna().any()
    return {
        "trials": len(trials),
        **{state: int(states.get(state, 0)) for state in STATES},
        "passes": float(passes.sum()) if known else np.nan,
        "hours": float(trials["seconds"].sum()) / 3600,
    }


def _average(values: pd.Series, domains: pd.Series) -> float:
    """The mean over held-out domains of the mean over studies; NaN if a value is missing.

    Both are by study.
    """
    if values.empty or values.isna().any():
        return np.nan
    return float(values.astype(float).groupby(domains.reindex(values.index)).mean().mean())


def _calibration(evaluations: pd.DataFrame, chosen: pd.DataFrame) -> dict[str, dict[str, float]]:
    """`ece` and `loss` -> trial -> the value of a winner on its held-out domain's in split.

    Of a set of domains it is the mean over them.
    """
    steps = dict(zip(chosen["trial"], chosen["step"], strict=True))
    rows = evaluations[evaluations["trial"].isin(steps)]
    rows = result_rows(rows)
    rows = rows[(rows["role"] == "held_out") & (rows["split"] == "in")]
    rows = rows[rows["step"].to_numpy() == rows["trial"].astype(object).map(steps).to_numpy()]
    trials = rows["trial"].astype(str)
    return {
        name: rows[name].groupby(trials).agg(lambda own: own.mean(skipna=False)).to_dict()
        if name in rows
        else {}
        for name in ("ece", "loss")
    }


def _selection_error(
    rankings: pd.DataFrame,
    domains: pd.Series,
    trials: pd.DataFrame,
    method: str,
    tied: bool,
) -> tuple[float, str]:
    """The standard deviation of the average over draws of trials; NaN, and why."""
    if tied:
        keys = "search.share, seed_reduction or objective_over"
        return np.nan, f"studies took settings from each other ({keys})"
    studies = {str(study): own for study, own in rankings.groupby("study", sort=False)}
    if any(len(studies.get(study, ())) < 2 for study in domains.index):
        return np.nan, "a study has fewer than two candidates"
    count = int(trials["number"].max()) + 1
    drawn = np.zeros((DRAWS, count), bool)
    numbers = np.random.default_rng(0).integers(0, count, (DRAWS, count))
    np.put_along_axis(drawn, numbers, True, axis=1)
    once = method.endswith(PER_DATASET)
    shared = studies[domains.index[0]]["number"] if once else None
    by_domain: dict[str, list[np.ndarray]] = {}
    whole = np.ones(DRAWS, bool)  # draws in which every study has a candidate
    for study, domain in domains.items():
        own = studies[str(study)]
        there = drawn[:, own["number"] if shared is None else shared]  # [draws, candidates]
        whole &= there.any(axis=1)
        accuracies = own["accuracy"].to_numpy()
        by_domain.setdefault(domain, []).append(accuracies[there.argmax(axis=1)])
    averages = np.mean([np.mean(own, axis=0) for own in by_domain.values()], axis=0)[whole]
    if np.isnan(averages).any():
        return np.nan, "candidates were not scored on the held-out domain (training.evaluations)"
    if len(averages) < FEWEST_DRAWS:
        return np.nan, "too few draws of trials have a candidate in each study"
    return float(np.std(averages)), ""
