"""What a study tries before its sampler has a say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna

from datasets.splits import seed_hash
from search.driver.study_record import StudyRecord
from search.space.ranges import Value, grid_points
from search.study import samplers


def queue_first(
    record: StudyRecord, study: optuna.Study, earlier: Sequence[Mapping[str, Value]]
) -> None:
    """Queues in the storage, where a resume finds it, what the study has not queued yet.

    Of a grid: its points, that of the published setting first. Else that setting, those of
    `earlier` runs, and the sweep's.
    """
    plan = record.plan
    if plan.search.sampler == "grid":
        seed = seed_hash(plan.search.seed, record.study.id)
        drawn = samplers.shuffled(grid_points(plan.space), seed)
        settings = sorted(drawn, key=lambda point: point != plan.published)[: record.max_trials]
    else:
        settings = plan.first_settings(earlier)
    for setting in settings:
        study.enqueue_trial(setting, skip_if_exists=True)
