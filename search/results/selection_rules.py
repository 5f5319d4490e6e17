"""The rules of model selection: which step counts for a trial, and which score ranks the trials.

A rule maps the evaluations of trials to a frame with at most one row per trial: trial, step,
validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd


class Scores:
    """The evaluations of trials as the rules read them; what several rules read is made once.

    evaluations: the columns trial (a whole number), alike, step, domain, role, split and accuracy.
    Trials of the same number in `alike` have the same domains.
    """

    def __init__(self, evaluations: pd.DataFrame) -> None:
        self.evaluations = evaluations

    def of(self, role: str, split: str) -> pd.DataFrame:
        """The evaluations on the domains of a role, in one split."""
        rows = self.evaluations
        return rows[(rows["role"] == role) & (rows["split"] == split)]

    @cached_property
    def source(self) -> DomainAccuracies:
        """The accuracies on the out splits of the source domains."""
        return DomainAccuracies(self.of("source", "out"))

    @cached_property
    def held_out(self) -> pd.DataFrame:
        """trial, step and, as validation, the accuracy on the held-out domain's out split."""
        return DomainAccuracies(self.of("held_out", "out")).reduced(np.mean)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """The last step and the number of steps of each trial's own run, without its folds."""
        own = self.evaluations[self.evaluations["role"] != "left_out"]
        return own.groupby("trial")["step"].agg(["max", "nunique"])

    def at_last(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Those of the scores that are of a trial's last step."""
        return scores[scores["step"] == scores["trial"].map(self.steps["max"])]


class DomainAccuracies:
    """The accuracies on several domains; a record is a step of a trial: [records, domains].

    rows: evaluations, of each (trial, step, domain) one.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        alike = rows["alike"].to_numpy()
        domain, domains = pd.factorize(rows["domain"])
        # Numbered in the order they were evaluated, so that the sums, and with them ties, are those
        # of DomainBed to the last bit.
        pair, pairs = pd.factorize(alike * len(domains) + domain)
        group = pd.Series(pairs // max(len(domains), 1))
        place = group.groupby(group).cumcount().to_numpy()
        count = np.bincount(group)  # of the domains
        step = rows["step"].to_numpy()
        end = step.max(initial=0) + 1
        records, record = np.unique(rows["trial"].to_numpy() * end + step, return_inverse=True)
        self._keys = pd.DataFrame({"trial": records // end, "step": records % end})
        # An empty place (NaN) voids its record.
        self._accuracy = np.full((len(records), count.max(initial=0)), np.nan)
        self._accuracy[record, place[pair]] = rows["accuracy"].to_numpy()
        self._domains = np.zeros(len(records), int)
        self._domains[record] = count[alike]

    def reduced(self, reduce: Callable[..., np.ndarray]) -> pd.DataFrame:
        """trial, step and, as validation, the accuracies of all domains reduced to one score.

        By trial and step. Steps without all domains are left out.
        """
        validation = np.full(len(self._keys), np.nan)
        for count in np.unique(self._domains):
            own = self._domains == count
            accuracy = np.ascontiguousarray(self._accuracy[own, :count])
            validation[own] = reduce(accuracy, axis=1)
        return self._keys.assign(validation=validation).dropna(subset="validation")


@dataclass(frozen=True)
class Rule:
    """A rule of selection.

    best: the chosen step and the score of each trial. needs: what it reads, for the message where
    no trial has it. oracle: it looks at the held-out domain, so its accuracy is an upper bound.
    """

    best: Callable[[Scores], pd.DataFrame]
    needs: str
    oracle: bool = False


def training_domain(scores: Scores) -> pd.DataFrame:
    """Training-domain validation: honest, sees source domains only.

    validation(step) = mean over source domains d of accuracy(d, out split), each domain with the
    same weight; the first best step counts for a trial. A step at which a source domain was
    not evaluated does not count.
    Source: Gulrajani and Lopez-Paz, In Search of Lost Domain Generalization (ICLR 2021), section 3;
    DomainBed, model_selection.py, IIDAccuracySelectionMethod.
    """
    return _first_best(scores.source.reduced(np.mean))


def leave_one_domain_out(scores: Scores) -> pd.DataFrame:
    """Leave-one-domain-out cross-validation: honest, the held-out domain has no part in it.

    validation(step) = mean over source domains d of accuracy(d, in split) in the fold of d, a run
    of the same setting that is trained without d as well; the first best step counts for a
    trial. A step at which a fold was not evaluated does not count, nor a trial that lacks a fold.
    Source: as `training_domain`, section 3; DomainBed, model_selection.py,
    LeaveOneOutSelectionMethod.
    """
    rows = scores.of("left_out", "in")
    sources = scores.evaluations[scores.evaluations["role"] == "source"]
    needed, found = (
        set(own[["alike", "domain"]].drop_duplicates().itertuples(index=False, name=None))
        for own in (sources, rows)
    )
    lacking = {alike for alike, _ in needed - found}
    return _first_best(DomainAccuracies(rows[~rows["alike"].isin(lacking)]).reduced(np.mean))


def worst_source_domain(scores: Scores) -> pd.DataFrame:
    """Training-domain validation by the source domain with the lowest accuracy; honest.

    validation(step) = min over source domains d of accuracy(d, out split); the first best step
    counts for a trial. A step at which a source domain was not evaluated does not count.
    Source: the worst-group validation accuracy of Sagawa et al., Distributionally Robust Neural
    Networks for Group Shifts (ICLR 2020), with domains as groups.
    """
    return _first_best(scores.source.reduced(np.min))


def last_step(scores: Scores) -> pd.DataFrame:
    """Training-domain validation of settings only: the last step counts for a trial.

    validation = mean over source domains d of accuracy(d, out split) at the trial's last step; no
    early stopping. Honest.
    Source: the row `last` of the released code of SWAD, trainer.py (Cha et al., NeurIPS 2021).
    """
    return scores.at_last(scores.source.reduced(np.mean))


def oracle(scores: Scores) -> pd.DataFrame:
    """Oracle (test-domain validation): looks at the held-out domain, an upper bound only.

    validation = accuracy(held-out domain, out split) at the trial's last step; no early stopping.
    Of a set of domains it is the mean over them, here as below.
    Source: as `training_domain`, section 3; DomainBed, model_selection.py, OracleSelectionMethod.
    """
    return scores.at_last(scores.held_out)


def oracle_best_step(scores: Scores) -> pd.DataFrame:
    """The oracle of SWAD, SAGM and GGA: it chooses the step by the held-out domain as well.

    validation(step) = accuracy(held-out domain, out split); the first best step counts for a trial,
    so the number is never below the oracle's validation. A trial that was not scored on the
    held-out domain at each of its steps does not count: the best of some steps is another rule.
    Source: the row `oracle` of the released code of SWAD, trainer.py (Cha et al., NeurIPS 2021).
    """
    rows = scores.held_out
    scored = rows.groupby("trial")["step"].transform("size")
    return _first_best(rows[scored == rows["trial"].map(scores.steps["nunique"])])


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


def _first_best(scores: pd.DataFrame) -> pd.DataFrame:
    return scores.loc[scores.groupby("trial")["validation"].idxmax()]
