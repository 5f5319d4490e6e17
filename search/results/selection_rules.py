"""The rules of model selection: which step counts for a trial, and which score ranks the trials.

A rule maps the evaluations of a study to a frame with at most one row per trial: trial, step,
validation. It reads the columns trial, step, domain, role, split and accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

_NOTHING = pd.DataFrame({"trial": [], "step": [], "validation": []})


@dataclass(frozen=True)
class Rule:
    """A rule of selection.

    best: the chosen step and the score of each trial. needs: what it reads, for the message where
    no trial has it. oracle: it looks at the held-out domain, so its accuracy is an upper bound.
    """

    best: Callable[[pd.DataFrame], pd.DataFrame]
    needs: str
    oracle: bool = False


def training_domain(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Training-domain validation: honest, sees source domains only.

    validation(step) = mean over source domains d of accuracy(d, out split), each domain with the
    same weight; the first best step counts for a trial. A step at which a source domain was
    not evaluated does not count.
    Source: Gulrajani and Lopez-Paz, In Search of Lost Domain Generalization (ICLR 2021), section 3;
    DomainBed, model_selection.py, IIDAccuracySelectionMethod.
    """
    return _first_best(_by_step(_source_out(evaluations), np.mean))


def leave_one_domain_out(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Leave-one-domain-out cross-validation: honest, the held-out domain has no part in it.

    validation(step) = mean over source domains d of accuracy(d, in split) in the fold of d, a run
    of the same setting that is trained without d as well; the first best step counts for a
    trial. A step at which a fold was not evaluated does not count, nor a trial that lacks a fold.
    Source: as `training_domain`, section 3; DomainBed, model_selection.py,
    LeaveOneOutSelectionMethod.
    """
    rows = evaluations[(evaluations["role"] == "left_out") & (evaluations["split"] == "in")]
    if set(evaluations.loc[evaluations["role"] == "source", "domain"]) - set(rows["domain"]):
        return _NOTHING
    return _first_best(_by_step(rows, np.mean))


def worst_source_domain(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Training-domain validation by the source domain with the lowest accuracy; honest.

    validation(step) = min over source domains d of accuracy(d, out split); the first best step
    counts for a trial. A step at which a source domain was not evaluated does not count.
    Source: the worst-group validation accuracy of Sagawa et al., Distributionally Robust Neural
    Networks for Group Shifts (ICLR 2020), with domains as groups.
    """
    return _first_best(_by_step(_source_out(evaluations), np.min))


def last_step(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Training-domain validation of settings only: the last step counts for a trial.

    validation = mean over source domains d of accuracy(d, out split) at the trial's last step; no
    early stopping. Honest.
    Source: the row `last` of the released code of SWAD, trainer.py (Cha et al., NeurIPS 2021).
    """
    last = _last_step(evaluations)
    scores = _by_step(_source_out(evaluations), np.mean)
    at_last: pd.DataFrame = scores[
        scores["step"].to_numpy() == scores["trial"].map(last).to_numpy()
    ]
    return at_last


def oracle(evaluations: pd.DataFrame) -> pd.DataFrame:
    """Oracle (test-domain validation): looks at the held-out domain, an upper bound only.

    validation = accuracy(held-out domain, out split) at the trial's last step; no early stopping.
    Of a set of domains it is the mean over them, here as below.
    Source: as `training_domain`, section 3; DomainBed, model_selection.py, OracleSelectionMethod.
    """
    rows = _held_out(evaluations)
    last = _last_step(evaluations)
    rows = rows[rows["step"].to_numpy() == rows["trial"].map(last).to_numpy()]
    at_last: pd.DataFrame = rows.drop_duplicates("trial", keep="last")
    return at_last


def oracle_best_step(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The oracle of SWAD, SAGM and GGA: it chooses the step by the held-out domain as well.

    validation(step) = accuracy(held-out domain, out split); the first best step counts for a trial,
    so the number is never below the oracle's validation. A trial that was not scored on the
    held-out domain at each of its steps does not count: the best of some steps is another rule.
    Source: the row `oracle` of the released code of SWAD, trainer.py (Cha et al., NeurIPS 2021).
    """
    rows = _held_out(evaluations)
    steps = _own(evaluations).groupby("trial", observed=True)["step"].nunique()
    scored = rows.groupby("trial", observed=True)["step"].nunique()
    whole = scored.index[scored == steps.reindex(scored.index)]
    return _first_best(rows[rows["trial"].isin(whole)].sort_values("step", kind="stable"))


RULES: dict[str, Rule] = {
    "training-domain": Rule(
        training_domain, needs="the out split of every source domain at one step"
    ),
    "leave-one-domain-out": Rule(
        leave_one_domain_out,
        needs="a fold for each source domain (search.objective: leave-one-domain-out makes them)",
    ),
    "worst-source-domain": Rule(
        worst_source_domain, needs="the out split of every source domain at one step"
    ),
    "last-step": Rule(last_step, needs="the out split of every source domain at the last step"),
    "oracle": Rule(oracle, needs="the held-out domain's out split at the last step", oracle=True),
    "oracle-best-step": Rule(
        oracle_best_step,
        needs="the held-out domain's out split at every step (training.evaluations: all)",
        oracle=True,
    ),
}


def _by_step(rows: pd.DataFrame, reduce: Callable[..., np.ndarray]) -> pd.DataFrame:
    """The accuracies of all domains reduced to one score for each trial and step.

    By trial in order of appearance, and step. Steps without all domains are left out.
    """
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
            "validation": reduce(accuracy, axis=1),
        }
    )
    return frame.dropna(subset="validation")


def _own(evaluations: pd.DataFrame) -> pd.DataFrame:
    """The rows of the trials' own runs, without those of their folds."""
    return evaluations[evaluations["role"] != "left_out"]


def _source_out(evaluations: pd.DataFrame) -> pd.DataFrame:
    return evaluations[(evaluations["role"] == "source") & (evaluations["split"] == "out")]


def _held_out(evaluations: pd.DataFrame) -> pd.DataFrame:
    """trial, step and, as validation, the accuracy on the held-out domain's out split."""
    rows = evaluations[(evaluations["role"] == "held_out") & (evaluations["split"] == "out")]
    return _by_step(rows, np.mean)


def _last_step(evaluations: pd.DataFrame) -> pd.Series:
    return _own(evaluations).groupby("trial", sort=False, observed=True)["step"].max()


def _first_best(scores: pd.DataFrame) -> pd.DataFrame:
    first = scores.groupby("trial", sort=False, observed=True)["validation"].idxmax()
    return scores[scores.index.isin(first)]
