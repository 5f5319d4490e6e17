"""Which trial of a study is the result: DomainBed's selection methods over Steppe's tables.

Selection is apart from training and search: it reads `trials` and `evaluations` only, and can be
done again, by another method, long after the sweep.

Candidates are the completed trials. A pruned trial was stopped because trials of its own study had
a better best-so-far value at the same step, and the best of those goes on to the end: leaving the
pruned ones out loses no winner of the search objective. A diverged trial (NaN) is not a usable
setting, whatever it reached before. A failed one has no result.

A trial with averaged weights speaks through these alone, whatever the weights on the way there
scored: they are its result. Pruners compared the latter, so with averaging a pruned trial might
have won.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from search.errors import UserError
from search.nearest import way_out
from search.tables import STUDY_COLUMNS, selection_schema, to_pandas

_READ = ["trial", "step", "domain", "role", "split", "accuracy", "count"]
_Scores = dict[str, tuple[float, int]]  # split -> accuracy, images
_NOTHING = pd.DataFrame({"trial": [], "step": [], "validation": []})


@dataclass(frozen=True)
class Choice:
    """A trial, the step that speaks for it, and its scores there (fractions).

    `validation` ranked it. `accuracy` is the held-out domain's in split, as DomainBed reports it;
    `accuracy_all` both its splits, weighted by their images. Where the trial was not scored on the
    held-out domain at that step they are None and `reason` says so.
    """

    trial: str
    number: int
    step: int
    validation: float
    accuracy: float | None
    accuracy_all: float | None
    reason: str | None = None


@dataclass(frozen=True)
class NoChoice:
    """A study without a winner, and why."""

    reason: str


@dataclass(frozen=True)
class Method:
    """A rule that picks the step that speaks for a trial, and the score that ranks trials.

    `best` maps the evaluations of a study to a frame with at most one row per trial: trial, step,
    validation. `needs` names what it reads, for the message where a trial has none of it.
    """

    best: Callable[[pd.DataFrame], pd.DataFrame]
    needs: str


def training_domain(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Training-domain validation: honest, sees source domains only.

    validation(step) = mean over source domains d of accuracy(d, out split), each domain with the
    same weight; a trial speaks through its first best step. A step at which a source domain was
    not evaluated does not count.
    Source: Gulrajani and Lopez-Paz, In Search of Lost Domain Generalization (ICLR 2021), section 3;
    DomainBed, model_selection.py, IIDAccuracySelectionMethod.
    """
    rows = evaluations[(evaluations["role"] == "source") & (evaluations["split"] == "out")]
    if rows.empty:
        return _NOTHING
    domain, domains = pd.factorize(rows["domain"])
    trial, trials = pd.factorize(rows["trial"])
    steps = rows["step"].to_numpy()
    width = steps.max() + 1
    records, record = np.unique(trial * width + steps, return_inverse=True)
    # [records, domains] in the order the domains were evaluated, so that the sums, and with them
    # ties, are those of DomainBed to the last bit. An empty place (NaN) voids its record.
    accuracy = np.full((len(records), len(domains)), np.nan)
    accuracy[record, domain] = rows["accuracy"].to_numpy()
    frame = pd.DataFrame(
        {
            "trial": np.asarray(trials, dtype=object)[records // width],
            "step": records % width,
            "validation": accuracy.mean(axis=1),
        }
    ).dropna(subset="validation")
    first_best = frame.groupby("trial", sort=False)["validation"].idxmax()
    return frame[frame.index.isin(first_best)]


def oracle(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Oracle (test-domain validation): looks at the held-out domain, an upper bound only.

    validation = accuracy(held-out domain, out split) at the trial's last step; no early stopping.
    Source: as above, section 3; DomainBed, model_selection.py, OracleSelectionMethod. (The code of
    SWAD, SAGM and GGA calls the best over all steps the oracle: a larger number.)
    """
    last = evaluations.groupby("trial", sort=False, observed=True)["step"].max()
    rows = evaluations[(evaluations["role"] == "held_out") & (evaluations["split"] == "out")]
    rows = rows[rows["step"].to_numpy() == rows["trial"].map(last).to_numpy()]
    frame: pd.DataFrame = rows[["trial", "step", "accuracy"]]
    frame = frame.rename(columns={"accuracy": "validation"})
    return frame.dropna(subset="validation").drop_duplicates("trial", keep="last")


METHODS: dict[str, Method] = {
    "training-domain": Method(
        training_domain, needs="the out split of every source domain at one step"
    ),
    "oracle": Method(oracle, needs="the held-out domain's out split at the last step"),
}


def rank(method: str, trials: pd.DataFrame, evaluations: pd.DataFrame) -> list[Choice]:
    """All candidates of one study, best first; among equals the largest trial number is first.

    `trials` and `evaluations` are the rows of that study. Raises UserError for an unknown method.
    """
    candidates = trials.loc[trials["state"] == "completed", ["trial", "number"]]
    rows = _speaking(evaluations[evaluations["trial"].isin(candidates["trial"])])
    best = _method(method).best(rows)
    best = candidates.astype({"trial": object}).merge(best.astype({"trial": object}), on="trial")
    best = best.sort_values(["validation", "number"], ascending=False)
    held_out = _held_out_scores(rows, best)
    return [
        _choice(trial, int(number), int(step), float(validation), held_out.get(trial, {}))
        for trial, number, step, validation in best.itertuples(index=False)
    ]


def _speaking(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The rows that speak for their trials: of averaged weights, where a trial has such."""
    if "weights" not in evaluations:
        return evaluations
    average = evaluations["weights"] == "average"
    if not average.any():
        return evaluations
    averaged = evaluations.loc[average, "trial"].unique()
    return evaluations[average | ~evaluations["trial"].isin(averaged)]


def choose(method: str, trials: pd.DataFrame, evaluations: pd.DataFrame) -> Choice | NoChoice:
    """The winner of one study, or why it has none.

    `trials` and `evaluations` are the rows of that study. Raises UserError for an unknown method.
    """
    ranking = rank(method, trials, evaluations)
    return ranking[0] if ranking else NoChoice(_why_none(method, trials))


def select(
    trials: pd.DataFrame,
    evaluations: pd.DataFrame,
    methods: Sequence[str] = ("training-domain",),
    studies: Iterable[Mapping[str, Any]] = (),
) -> pd.DataFrame:
    """The winner of every study by every method: the table `selection`.

    A study without a winner has a row too: `trial` is null, `reason` says why. `studies` are those
    the sweep asks for, keyed by the study columns, in the order the result is to have; without
    them a study that has no trial yet has no row. Raises UserError for an unknown method.
    """
    asked = {study["study"]: {name: study[name] for name in STUDY_COLUMNS} for study in studies}
    groups = dict(iter(trials.groupby("study", sort=False)))
    found = {key: dict(group[list(STUDY_COLUMNS)].iloc[0]) for key, group in groups.items()}
    evaluations = _speaking(evaluations)
    rows_of = evaluations.groupby("study", sort=False, observed=True).indices
    evaluations = evaluations[_READ]
    none = np.empty(0, dtype=np.int64)
    rows = []
    for key, columns in {**asked, **found}.items():
        group = groups.get(key, trials.iloc[:0])
        own = evaluations.take(np.asarray(rows_of.get(key, none)))
        # As categories of this study alone: else each look-up of a trial walks through all trials.
        own["trial"] = own["trial"].astype("category").cat.remove_unused_categories()
        for method in methods:
            rows.append({**columns, "method": method, **vars(choose(method, group, own))})
    selection = to_pandas(pa.Table.from_pylist(rows, schema=selection_schema({})))
    settings = trials.set_index("trial").filter(regex="^hp_").reindex(selection["trial"])
    return pd.concat([selection, settings.reset_index(drop=True)], axis=1)


def _method(name: str) -> Method:
    if name not in METHODS:
        raise UserError(f"unknown selection method {name!r}: {way_out(name, METHODS)}")
    return METHODS[name]


def _held_out_scores(rows: pd.DataFrame, best: pd.DataFrame) -> dict[str, _Scores]:
    """Trial -> its scores on the held-out domain at its step in `best`."""
    held_out = rows[(rows["role"] == "held_out") & rows["accuracy"].notna()]
    step = held_out["trial"].astype(object).map(best.set_index("trial")["step"])
    held_out = held_out[held_out["step"].to_numpy() == step.to_numpy()]
    scores: dict[str, _Scores] = {}
    for trial, split, accuracy, count in held_out[
        ["trial", "split", "accuracy", "count"]
    ].itertuples(index=False):
        scores.setdefault(trial, {})[split] = (accuracy, count)
    return scores


def _choice(trial: str, number: int, step: int, validation: float, scores: _Scores) -> Choice:
    accuracy = scores["in"][0] if "in" in scores else None
    accuracy_all = None
    if scores.keys() >= {"in", "out"}:
        (inside, many), (outside, few) = scores["in"], scores["out"]
        accuracy_all = (inside * many + outside * few) / (many + few)
    reason = f"trial {number} has no held-out accuracy at step {step}" if accuracy is None else None
    return Choice(trial, number, step, validation, accuracy, accuracy_all, reason)


def _why_none(method: str, trials: pd.DataFrame) -> str:
    states = trials["state"].value_counts()
    if states.empty:
        return "no trial has finished"
    if "completed" in states.index:
        return f"no completed trial has {METHODS[method].needs}"
    if len(trials) == 1:
        return f"the only trial {'was ' * ('pruned' in states.index)}{states.index[0]}"
    if len(states) == 1:
        return f"all {len(trials)} trials {'were ' * ('pruned' in states.index)}{states.index[0]}"
    parts = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"none of {len(trials)} trials completed: {parts}"
