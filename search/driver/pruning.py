"""Stops trials early: reports go to the Optuna storage, and the study's pruner decides."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Sequence
from statistics import stdev

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from search.driver.freezing import Freezing
from search.driver.study_record import FAILURES, IMAGES, JUDGED, Running, StudyRecord
from search.run.storage import SweepStorage
from search.study.plan import StudyPlan
from search.sweep.objectives import reports_best_so_far
from search.worker.trial_rows import Progress

STANDARD_DEVIATIONS = 2.0
ENOUGH = 3  # completed trials that say how much trials still gain
UNTIL_THEN = 0.05  # of accuracy

# Of earlier commits.
STANDARD_ERRORS = 2.0

Trials = list[FrozenTrial]
Rung = tuple[int, float]  # the step at which it begins, and before which a trial's report must come


class Pruning:
    """Records reports of trials, and asks the pruner of their study.

    A pruner sees only what is in the storage, so a resumed sweep decides the same.
    """

    def __init__(
        self, plans: Iterable[StudyPlan], storage: SweepStorage, freezing: Freezing
    ) -> None:
        self._storage = storage
        self._freezing = freezing
        self._pruners: dict[tuple[str, str], BasePruner] = {}
        for plan in plans:
            key = plan.study.dataset, plan.study.algorithm
            if key not in self._pruners:
                self._pruners[key] = build(
                    plan.search.scheduler,
                    int(plan.total_steps * plan.resource_per_step),
                    int(plan.grace_steps * plan.resource_per_step),
                    plan.search.reduction_factor,
                    folds=plan.makes_folds,
                    as_before=plan.as_before,
                )

    def pruner(self, record: StudyRecord) -> BasePruner:
        """The study's pruner. Later seeds are never pruned, as settings are compared over seeds."""
        study = record.study
        if record.previous or record.first:
            return NopPruner()
        return self._pruners[study.dataset, study.algorithm]

    def stops(self, record: StudyRecord, running: Running, progress: Progress) -> bool:
        """Records a report; True if the trial is to be stopped, or frozen.

        A resumed trial repeats reports, of which only the newest decides. A trial that has done all
        its steps is never stopped. With folds, only the report at the end of a fold counts, and the
        value may fall from one fold to the next.
        """
        step = reported_step(record.plan, progress)
        if step is None:
            return False
        assert progress.value is not None
        objectives = record.plan.search.objectives
        known = self._storage.get_trial(running.trial_id).intermediate_values
        if step not in known:
            if progress.images and (not known or progress.folds):  # each fold adds images
                self._storage.set_trial_user_attr(running.trial_id, IMAGES, progress.images)
            # With two objectives Optuna has no intermediate values; TPE would misread one of them.
            value = progress.value if len(objectives) == 1 else math.nan
            self._storage.set_trial_intermediate_value(running.trial_id, step, value)
            if self._storage.get_trial(running.trial_id).user_attrs.get(FAILURES):
                self._storage.set_trial_user_attr(running.trial_id, FAILURES, 0)
        elif step < max(known):
            return False
        trial = self._storage.get_trial(running.trial_id)
        if progress.folds is None and progress.step >= record.plan.steps:
            return False
        if not reports_best_so_far(objectives):
            # Pruners may use the best of all values, but here only the newest counts.
            trial = copy.copy(trial)  # the original is the storage's
            trial.intermediate_values = {step: trial.intermediate_values[step]}
        pruner = self.pruner(record)
        freezes = self._freezing.applies(record)
        if isinstance(pruner, NopPruner) and not freezes:
            return False
        # Decided once: by the time a resumed trial repeats a report, other trials have changed.
        judged: Sequence[int] = trial.user_attrs.get(JUDGED, (-1, False))
        if judged[0] != step:
            assert record.optuna is not None
            judged = (
                step,
                self._freezing.freezes(record, running, step)
                if freezes
                else bool(pruner.prune(record.optuna, trial)),
            )
            self._storage.set_trial_user_attr(trial._trial_id, JUDGED, judged)
        return bool(judged[1])


def reported_step(plan: StudyPlan, progress: Progress) -> int | None:
    """The step under which the storage keeps a report; None if the report has no new value.

    It is the trial's step, or its passes under `search.compare_at: passes`. With folds
    (search.study.folds) it is the steps of all finished folds, including those that another trial
    trained, so that trials are compared after the same folds.
    """
    if plan.makes_folds:
        return None if progress.folds is None else progress.folds * plan.training.steps
    # A step takes at least one pass, so that no two reports have the same whole number.
    return int(progress.passes) if plan.search.compare_at == "passes" else progress.step


def build(
    name: str,
    steps: int,
    grace_steps: int,
    reduction_factor: int,
    folds: bool = False,
    as_before: bool = False,
) -> BasePruner:
    """The pruner of this name. It keeps no state but what is in the storage.

    steps: training steps of a whole trial, the unit in which trials report. grace_steps: no trial
    is stopped before. folds: whether they are the steps of folds, each as long as the grace.
    as_before: whether asha decides as in runs of earlier commits. Raises KeyError for an unknown
    name.
    """
    asha = RungPruner
    if as_before:
        asha, folds = NoisePruner, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return {
            "asha": lambda: asha(steps, grace_steps, reduction_factor, folds),
            "hyperband": lambda: HyperbandPruner(
                min_resource=grace_steps, max_resource=steps, reduction_factor=reduction_factor
            ),
            "median": lambda: MedianPruner(n_startup_trials=4, n_warmup_steps=grace_steps - 1),
            # Freezing decides, as nothing is stopped for good.
            "freeze-thaw": NopPruner,
            "none": NopPruner,
        }[name]()


class RungPruner(BasePruner):
    """Asynchronous successive halving that leaves room for what trials still gain.

    Rungs are at grace, grace * factor, grace * factor^2, ... steps, or after each fold; a trial is
    at a rung with its first report from there on, if that comes before the next rung. It is stopped
    if it is behind the best 1/factor of the trials at this rung by more than twice the standard
    deviation of what the study's completed trials gained between this rung and their end: trials
    whose gains differ overtake each other. Until three have completed, the margin is 0.05. With
    fewer than 2 * factor trials at a rung, the best 1/factor is the best trial.

    ASHA is by Li et al. 2020, arXiv 1810.05934. The margin is our own
    (benchmarks/rung_margins.py). All trials of a study are validated on the same images, so the
    number of images does not say which trials may still overtake.
    """

    def __init__(self, steps: int, grace_steps: int, factor: int, folds: bool = False) -> None:
        self._factor = factor
        self._rungs: list[Rung] = []
        rung = grace_steps
        while rung < steps:
            after = rung + grace_steps if folds else rung * factor
            self._rungs.append((rung, after))
            rung = after

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial's newest report stops it."""
        step = trial.last_step
        if step is None or not any(_reached(trial, rung) == step for rung in self._rungs):
            return False
        trials = study.get_trials(deepcopy=False)
        own = trials[trial.number]  # with all its reports; `trial` may have only the newest
        return any(
            self._behind(own, trials, rung) for rung in self._rungs if _reached(own, rung) == step
        )

    def _behind(self, trial: FrozenTrial, trials: Trials, rung: Rung) -> bool:
        there = sorted(_values_at(rung, trials), reverse=True)
        cut = there[max(len(there) // self._factor, 1) - 1]
        return _newest(trial) < cut - self._margin(trial, cut, trials, rung)

    def _margin(self, trial: FrozenTrial, cut: float, trials: Trials, rung: Rung) -> float:
        completed = [other for other in trials if other.state == TrialState.COMPLETE]
        gains = [
            _newest(other) - at_rung for other in completed for at_rung in _values_at(rung, [other])
        ]
        return STANDARD_DEVIATIONS * stdev(gains) if len(gains) >= ENOUGH else UNTIL_THEN


class NoisePruner(RungPruner):
    """The asha of earlier commits, for their runs: its margin is the noise of validation.

    That is two standard errors of the difference of two accuracies, each measured on the trial's
    IMAGES; without IMAGES there is none. A report counts at all rungs that it has passed.
    """

    def __init__(self, steps: int, grace_steps: int, factor: int, folds: bool = False) -> None:
        super().__init__(steps, grace_steps, factor, folds)
        self._rungs = [(begin, math.inf) for begin, _ in self._rungs]

    def _margin(self, trial: FrozenTrial, cut: float, trials: Trials, rung: Rung) -> float:
        images, value = trial.user_attrs.get(IMAGES), _newest(trial)
        noise = math.sqrt((_variance(value) + _variance(cut)) / images) if images else 0.0
        return STANDARD_ERRORS * noise


def _newest(trial: FrozenTrial) -> float:
    """The value that a trial reported last."""
    return trial.intermediate_values[max(trial.intermediate_values)]


def _values_at(rung: Rung, trials: Iterable[FrozenTrial]) -> list[float]:
    """The values of those trials that are at the rung."""
    steps = ((trial, _reached(trial, rung)) for trial in trials)
    return [trial.intermediate_values[step] for trial, step in steps if step is not None]


def _reached(trial: FrozenTrial, rung: Rung) -> int | None:
    """The step at which a trial is at a rung; None for one that has not come, or jumped over it."""
    begin, end = rung
    step = min((step for step in trial.intermediate_values if step >= begin), default=None)
    return step if step is not None and step < end else None


def _variance(accuracy: float) -> float:
    """Of the correctness of one image."""
    return accuracy * (1 - accuracy)
