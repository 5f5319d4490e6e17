"""How much of the variance of the search objective each hyperparameter explains: Optuna's fANOVA.

One study has too few trials, so those of all studies of an algorithm on a dataset are taken
together, each less the mean of its study: a held-out domain or seed moves all of a study alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna
import pandas as pd

from search.errors import SteppeError
from search.results.loading import LoadedRun, ranges_of
from search.space.ranges import Fixed, Range, contains
from search.study.samplers import distribution

FEWEST = 20
MOST = 300  # 5 seconds with five hyperparameters; 1,000 trials take 40


def importance(trials: pd.DataFrame, runs: Sequence[LoadedRun]) -> pd.DataFrame:
    """A row per (sweep, dataset, model, algorithm, hyperparameter), the most important first.

    importance: the share of the objective's variance that the hyperparameter explains, with its
    interactions; those of an algorithm sum to 1. trials, studies: how many it was computed from,
    the completed trials; of more than 300, evenly chosen ones. Raises SteppeError if no algorithm
    has 20 completed trials.

    Source: Hutter et al., An Efficient Approach for Assessing Hyperparameter Importance (ICML
    2014).
    """
    spaces = {
        study.id: ranges_of(run.sweep, own.algorithm)
        for run in runs
        for own, study in run.studies.items()
    }
    completed = trials[(trials["state"] == "completed") & trials["objective"].notna()]
    keys = ["sweep", "dataset", "model", "algorithm"]
    rows, most = [], 0
    for key, group in completed.groupby(keys, sort=False):
        space = spaces[group["study"].iloc[0]]
        inside = _inside(group, space)
        means = inside.groupby("study")["objective"].transform("mean")
        centred = inside["objective"] - means
        most = max(most, len(inside))
        if len(inside) < FEWEST or centred.nunique() < 2:
            continue
        every = -(-len(inside) // MOST)
        inside, centred = inside.iloc[::every], centred.iloc[::every]
        counts = {"trials": len(inside), "studies": inside["study"].nunique()}
        for name, share in _shares(inside, centred, space).items():
            named = dict(zip(keys, key, strict=True))
            rows.append({**named, "hyperparameter": name, "importance": share, **counts})
    if not rows:
        raise SteppeError(
            f"importance needs at least {FEWEST} completed trials of an algorithm on a dataset, "
            f"with objectives that differ; the most here are {most}"
        )
    return pd.DataFrame(rows)


def _inside(trials: pd.DataFrame, space: Mapping[str, Range]) -> pd.DataFrame:
    """The trials that lie in the space; settings that a user gave need not."""
    keep = pd.Series(True, index=trials.index)
    for name, range_ in space.items():
        keep &= trials[f"hp_{name}"].map(lambda value, r=range_: contains(r, value)).astype(bool)
    return trials[keep]


def _shares(
    trials: pd.DataFrame, objective: pd.Series, space: Mapping[str, Range]
) -> dict[str, float]:
    distributions = {
        name: distribution(range_)
        for name, range_ in space.items()
        if not isinstance(range_, Fixed) and trials[f"hp_{name}"].nunique() > 1
    }
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it logs the study made here
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(said)
    for (_, row), value in zip(trials.iterrows(), objective, strict=True):
        params = {name: row[f"hp_{name}"] for name in distributions}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=value)
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
