"""Stops trials early: reports go to the Optuna storage, and the study's pruner decides."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence

from optuna.pruners import BasePruner, NopPruner

from search.driver.freezing import Freezing
from search.driver.study_record import FAILURES, JUDGED, Running, StudyRecord
from search.run.storage import SweepStorage
from search.study import pruners
from search.study.plan import StudyPlan
from search.study.pruners import IMAGES
from search.sweep.objectives import reports_best_so_far
from search.worker.trial_rows import Progress


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
                self._pruners[key] = pruners.build(
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
