"""The networks that may be combined: kept weights of a study, or of studies with one start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from search.errors import SteppeError
from search.reproduce.recorded_trial import EndedRun, plain
from search.results.candidates import result_rows
from search.run.checkpoints import kept_weights
from search.run.run_folder import EVALUATIONS
from search.study.plan import StudyPlan, TrialSpec
from search.study.study import Study
from search.sweep.objectives import LEAVE_ONE_DOMAIN_OUT, oracles
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Sweep
from search.sweep.search_keys import COMBINATIONS, WISE_FT
from training.algorithms import ZERO_SHOT
from training.combining import ranking

VALIDATED = ("greedy", WISE_FT)  # what chooses by validation


@dataclass(frozen=True)
class Candidate:
    """A trial whose selected weights were kept.

    score: value of the search's objective. pooled: accuracy over all samples of the source domains'
    out splits. passes: cost of its training.
    """

    spec: TrialSpec
    score: float
    pooled: float
    passes: float

    @property
    def trial(self) -> str:
        """Its name."""
        return self.spec.trial


@dataclass(frozen=True)
class Group:
    """Candidates that are combined with each other.

    studies: those that they come from, the first names the group. across: `algorithms`, `seeds` or
    None. candidates: the best first; of equal ones the sweep's earlier study, and in it the largest
    number, which is first where a trial is selected too.
    """

    studies: tuple[StudyPlan, ...]
    across: str | None
    candidates: tuple[Candidate, ...]

    @property
    def study(self) -> Study:
        """Its columns in tables; several algorithms are joined by slashes."""
        algorithms = dict.fromkeys(plan.study.algorithm for plan in self.studies)
        return replace(self.studies[0].study, algorithm="/".join(algorithms))

    def name(self, method: str, top: int | None) -> str:
        """Of one of its combinations, in tables and files."""
        seeds = "-seeds" if self.across == "seeds" else ""
        return f"{self.study.id}.{method}{seeds}{'' if top is None else f'-top{top}'}"


def groups(run: EndedRun, across: str | None, top: int | None) -> Iterator[Group]:
    """The groups of a run, in the order of its sweep.

    top: how many candidates, the best ones; None: all. Raises SteppeError if the run kept too few
    weights, or chose them by the held-out domain.
    """
    search = run.sweep.search
    if LEAVE_ONE_DOMAIN_OUT in search.objectives:
        raise SteppeError(
            f"{run.folder.uri} has search.objective: {LEAVE_ONE_DOMAIN_OUT}, under which no "
            "networks to combine can be kept; launch a sweep with search.objective: "
            "training-domain and search.keep_weights: all"
        )
    if any(one.training.retrain != "none" for one in by_dataset(run.sweep).values()):
        raise SteppeError(
            f"{run.folder.uri} has training.retrain: its networks were trained on the images that "
            "a combination would be chosen by; launch a sweep without it"
        )
    if oracles(search.objectives):
        raise SteppeError(
            f"{run.folder.uri} has search.objective: {oracles(search.objectives)[0]}: the held-out "
            "domain chose the weights that were kept, so a combination of them is no result; "
            "launch a sweep with search.objective: training-domain"
        )
    found = _candidates(run)
    together: dict[tuple[object, ...], list[StudyPlan]] = {}
    for plan in run.plans.values():
        study = plan.study
        if study.algorithm == ZERO_SHOT:  # what is not trained is no network of its own
            continue
        key = (
            study.dataset,
            None if across == "algorithms" else study.algorithm,
            study.held_out,
            None if across == "seeds" else study.seed,
        )
        together.setdefault(key, []).append(plan)
    if not together:
        raise SteppeError(f"{run.folder.uri} trains nothing, so there is nothing to combine")
    if across is not None and all(len(those) == 1 for those in together.values()):
        raise SteppeError(
            f"{run.folder.uri} has one {across.removesuffix('s')}, so --across {across} combines "
            "no more than a study; remove it"
        )
    for those in together.values():
        listed = [candidate for plan in those for candidate in found.get(plan.study.id, ())]
        order = ranking([candidate.score for candidate in listed])[:top]
        yield Group(tuple(those), across, tuple(listed[position] for position in order))


def _candidates(run: EndedRun) -> dict[str, list[Candidate]]:
    """The candidates of each study, the largest number first."""
    kept = kept_weights(run.folder)
    trials = run.trials[(run.trials["state"] == "completed") & run.trials["trial"].isin(kept)]
    trials = trials[trials["objective"].notna()].sort_values("number", ascending=False)
    pooled = _pooled(run, trials)
    found: dict[str, list[Candidate]] = {}
    for _, values in trials.iterrows():
        row = plain(values)
        if row["trial"] not in pooled:
            raise SteppeError(
                f"{run.folder.path(EVALUATIONS)} has no validation accuracy of {row['trial']} at "
                f"step {row['best_step']}, whose weights are kept; put a copy of its file back, or "
                "delete its weights"
            )
        candidate = Candidate(run.spec(row), row["objective"], pooled[row["trial"]], row["passes"])
        found.setdefault(row["study"], []).append(candidate)
    return found


def _pooled(run: EndedRun, trials: pd.DataFrame) -> dict[str, float]:
    """The pooled validation accuracy of the kept weights of each trial, from the tables."""
    rows = result_rows(run.evaluations[run.evaluations["trial"].isin(trials["trial"])])
    rows = rows[(rows["role"] == "source") & (rows["split"] == "out")]
    step = rows["trial"].astype(object).map(trials.set_index("trial")["best_step"])
    rows = rows[rows["step"].to_numpy() == step.to_numpy()]
    hits = (rows["accuracy"] * rows["count"]).groupby(rows["trial"].astype(object)).sum()
    counts = rows["count"].groupby(rows["trial"].astype(object)).sum()
    return dict((hits / counts).items())


def fewest(method: str) -> int:
    """Networks that the method takes."""
    return 1 if method == WISE_FT else 2


def possible_methods(sweep: Sweep, across: str | None) -> list[str]:
    """The methods that a run's networks can be combined by."""
    most = sweep.search.most_kept
    return [
        name
        for name in COMBINATIONS
        if (across != "seeds" or name not in VALIDATED)
        and (name != WISE_FT or sweep.model.head != "linear")
        and (
            name == WISE_FT or most is None or most >= fewest(name) or sweep.model.head == "linear"
        )
    ]


def check_validated(methods: Sequence[str], across: str | None) -> None:
    """Raises SteppeError for a method that needs validation which a group does not have."""
    for method in methods if across == "seeds" else ():
        if method in VALIDATED:
            raise SteppeError(
                f"--method {method} does not go with --across seeds: other seeds have other "
                "splits, so every image that would validate the result has trained some of its "
                "members; give --method uniform or --method ensemble"
            )


def check_kept(run: EndedRun, methods: Sequence[str]) -> None:
    """Raises SteppeError for a method for which the run kept too few networks, or other ones."""
    if WISE_FT in methods and run.sweep.model.head == "linear":
        raise SteppeError(
            f"--method {WISE_FT} goes from zero-shot to trained weights, and {run.folder.uri} has "
            "model.head: linear, which has no zero-shot; launch a sweep with model.head: text"
        )
    search = run.sweep.search
    most = search.most_kept
    least = max(map(fewest, methods))
    if most is not None and (most < least or (most and search.keep_weights == "last")):
        networks = "two networks to combine" if least > 1 else "selected network"
        raise SteppeError(
            f"{run.folder.uri} has search.keep_weights: {search.keep_weights}, so no study has "
            f"{networks}; launch a sweep with search.keep_weights: all"
        )
