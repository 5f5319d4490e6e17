"""Asks the Optuna studies for trials: queued settings first, then what the sampler suggests."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import optuna
from optuna.study import StudyDirection

from search.driver.pruning import Pruning
from search.driver.queued_settings import queue_first, queue_shared
from search.driver.study_record import Running, StudyRecord
from search.run.storage import SweepStorage
from search.space.ranges import Value
from search.study import samplers
from search.study.samplers import suggest

log = logging.getLogger("steppe")


class Suggestions:
    """Begins and loads the Optuna studies of a sweep, and starts their trials.

    earlier: settings of earlier runs, by study (search.driver.warm_start).
    """

    def __init__(
        self,
        storage: SweepStorage,
        pruning: Pruning,
        earlier: Mapping[str, Sequence[Mapping[str, Value]]],
    ) -> None:
        self._storage = storage
        self._pruning = pruning
        self._earlier = earlier

    def load(self, records: Iterable[StudyRecord]) -> Iterator[StudyRecord]:
        """Loads the Optuna studies that earlier drivers began, one by one; yields their records."""
        begun = {study.study_name for study in self._storage.get_all_studies()}
        for record in records:
            if record.study.id in begun:
                study = optuna.load_study(
                    storage=self._storage,
                    study_name=record.study.id,
                    pruner=self._pruning.pruner(record),
                )
                self._queue_first(record, study)
                record.optuna = study
                yield record

    def new_trial(
        self, record: StudyRecord, records: Iterable[StudyRecord], frozen: Collection[int] = ()
    ) -> Running:
        """Starts a new trial of a study, which it begins if need be.

        records: of all studies. frozen: numbers of trials that the sampler takes for stopped ones.
        """
        search = record.plan.search
        if record.optuna is None:
            study = optuna.create_study(
                storage=self._storage,
                study_name=record.study.id,
                directions=[StudyDirection.MAXIMIZE] * len(search.objectives),
                pruner=self._pruning.pruner(record),
            )
            self._queue_first(record, study)
            record.optuna = study
        queue_shared(record, records, search.share)
        record.asked += 1
        return self._start(record, record.optuna.ask(), frozen)

    def same_trial(self, record: StudyRecord, trial_id: int) -> Running:
        """Starts another attempt at a trial."""
        assert record.optuna is not None
        return self._start(record, optuna.trial.Trial(record.optuna, trial_id))

    def _queue_first(self, record: StudyRecord, study: optuna.Study) -> None:
        queue_first(record, study, self._earlier.get(record.study.id, ()))

    def _start(
        self, record: StudyRecord, trial: optuna.Trial, frozen: Collection[int] = ()
    ) -> Running:
        values = self._values(record, trial, frozen)
        self._storage.flush()  # before a worker writes anything under this number
        running = Running(record.plan.trial(trial.number, values), trial._trial_id)
        record.running[running.spec.trial] = running
        return running

    def _values(
        self, record: StudyRecord, trial: optuna.Trial, frozen: Collection[int]
    ) -> dict[str, Value]:
        plan, space = record.plan, record.plan.space
        trial.study.sampler = samplers.build(plan.search.sampler, plan, trial.number, frozen)
        try:
            return {name: suggest(trial, name, range_) for name, range_ in space.items()}
        except OSError:
            raise
        except Exception:
            # A model that cannot be fitted must not end a sweep of days.
            name = plan.search.sampler
            log.exception("sampler %s failed in %s; drawing at random", name, record.study.id)
            trial.study.sampler = samplers.build("random", plan, trial.number)
            return {name: suggest(trial, name, range_) for name, range_ in space.items()}
