"""What each study tries before its sampler has a say."""

from __future__ import annotations

import optuna

from datasets.splits import seed_hash
from search.driver import later_seeds, warm_start
from search.driver.study_record import StudyRecord
from search.run.run_folder import RunFolder
from search.space.ranges import Value
from search.study import samplers
from search.study.study_space import first_settings, grid, published_setting
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Sweep


class FirstTrials:
    """Queues settings in the storage, where a resume finds them."""

    def __init__(self, sweep: Sweep, folder: RunFolder) -> None:
        self._search = sweep.search
        self._parts = by_dataset(sweep)
        self._earlier = warm_start.recorded(folder)

    def queue(self, record: StudyRecord, study: optuna.Study) -> None:
        """Queues what the study tries first and has not queued yet.

        Of a later seed: the best settings of the seed before. Of a grid: its points, that of the
        published setting first. Else that setting, those of earlier runs, and those of the sweep.
        """
        if record.after is not None:
            later_seeds.queue(record, record.after, study)
            return
        for setting in self._settings(record):
            study.enqueue_trial(setting, skip_if_exists=True)

    def _settings(self, record: StudyRecord) -> list[dict[str, Value]]:
        one, algorithm = self._parts[record.study.dataset], record.study.algorithm
        if self._search.sampler == "grid":
            points = grid(record.space)
            first = published_setting(one, algorithm)
            seed = seed_hash(self._search.seed, record.study.id)
            drawn = samplers.shuffled(points, seed)
            return sorted(drawn, key=lambda point: point != first)[: record.max_trials]
        return first_settings(one, algorithm, self._earlier.get(record.study.id, []))
