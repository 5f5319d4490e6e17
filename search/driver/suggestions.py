"""Asks the Optuna studies for trials: queued settings first, then what the sampler suggests."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search.driver.pruning import Pruning
from search.driver.queued_settings import queue_first, queue_shared
from search.driver.seed_means import SeedMeans
from search.driver.study_record import UNTRAINED, Running, StudyRecord, Unfinished
from search.run.storage import SweepStorage
from search.space.ranges import Value
from search.study import samplers
from search.study.samplers import suggest

log = logging.getLogger("steppe")

# Takes the place of a study's sampler between two suggestions: each of these holds a generator.
_AT_REST = optuna.samplers.RandomSampler()


class Suggestions:
    """Begins and loads the Optuna studies of a sweep, and starts their trials.

    earlier: settings of earlier runs, by study (search.driver.warm_start).
    """

    def __init__(
        self,
        storage: SweepStorage,
        pruning: Pruning,
        seed_means: SeedMeans,
        earlier: Mapping[str, Sequence[Mapping[str, Value]]],
    ) -> None:
        self._storage = storage
        self._pruning = pruning
        self._seed_means = seed_means
        self._earlier = earlier

    def load(self, records: Iterable[StudyRecord]) -> Iterator[StudyRecord]:
        """Loads the Optuna studies that earlier drivers began, one by one; yields their records."""
        begun = {study.study_name for study in self._storage.get_all_studies()}
        for record in records:
            if record.study.id in begun:
                study = optuna.load_study(
                    storage=self._storage,
                    study_name=record.study.id,
                    sampler=_AT_REST,
                    pruner=self._pruning.pruner(record),
                )
                self._begin(record, study)
                yield record

    def new_trial(
        self, record: StudyRecord, records: Iterable[StudyRecord], frozen: Collection[int] = ()
    ) -> Running:
        """Starts a new trial of a study, which it begins if need be.

        records: of all studies. frozen: numbers of trials that the sampler takes for stopped ones.
        """
        if record.first is not None:
            return self.next_seed(record, self._seed_means.number(record))
        study = self._begun(record)
        queue_shared(record, records, record.plan.search.share)
        record.asked += 1
        lost, means = self._seed_means.told(record)
        return self._start(record, study.ask(), [*frozen, *lost], means)

    def next_seed(self, record: StudyRecord, number: int, untrained: str | None = None) -> Running:
        """Starts the trial of this number in a later seed's study, which it begins if need be.

        It has the setting of that trial in the first seed's study. untrained: why it is to end at
        once, which is in the journal before it starts.
        """
        assert record.first is not None
        assert record.first.optuna is not None
        study = self._begun(record)
        settings = record.first.optuna.get_trials(deepcopy=False)
        for setting in settings[len(study.get_trials(deepcopy=False)) : number + 1]:
            study.enqueue_trial(setting.params)
        trial = study.get_trials(deepcopy=False)[number]
        trial_id = trial._trial_id
        # A driver that died may have left it, and the setting may win now, as the run has grown.
        if trial.user_attrs.get(UNTRAINED) != untrained:
            self._storage.set_trial_user_attr(trial_id, UNTRAINED, untrained)
        self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        record.asked += 1
        return self.same_trial(Unfinished(record, trial_id))

    def same_trial(self, left: Unfinished) -> Running:
        """Starts another attempt at a trial."""
        assert left.record.optuna is not None
        running = self._start(left.record, optuna.trial.Trial(left.record.optuna, left.trial_id))
        running.progress = left.progress
        return running

    def _begun(self, record: StudyRecord) -> optuna.Study:
        if record.optuna is None:
            study = optuna.create_study(
                storage=self._storage,
                study_name=record.study.id,
                directions=[StudyDirection.MAXIMIZE] * len(record.plan.search.objectives),
                sampler=_AT_REST,
                pruner=self._pruning.pruner(record),
            )
            self._begin(record, study)
            return study
        return record.optuna

    def _begin(self, record: StudyRecord, study: optuna.Study) -> None:
        queue_first(record, study, self._earlier.get(record.study.id, ()))
        record.optuna = study

    def _start(
        self,
        record: StudyRecord,
        trial: optuna.Trial,
        frozen: Collection[int] = (),
        means: Mapping[int, float] | None = None,
    ) -> Running:
        values = self._values(record, trial, frozen, means)
        self._storage.flush()  # before a worker writes anything under this number
        running = Running(record.plan.trial(trial.number, values), trial._trial_id)
        record.running[running.spec.trial] = running
        return running

    def _values(
        self,
        record: StudyRecord,
        trial: optuna.Trial,
        frozen: Collection[int],
        means: Mapping[int, float] | None,
    ) -> dict[str, Value]:
        plan, space = record.plan, record.plan.space
        # Later seeds have nothing to draw.
        name = "random" if record.first is not None else plan.search.sampler
        trial.study.sampler = samplers.build(name, plan, trial.number, frozen, means)
        try:
            return {name: suggest(trial, name, range_) for name, range_ in space.items()}
        except OSError:
            raise
        except Exception:
            # A model that cannot be fitted must not end a sweep of days.
            log.exception("sampler %s failed in %s; drawing at random", name, record.study.id)
            trial.study.sampler = samplers.build("random", plan, trial.number)
            return {name: suggest(trial, name, range_) for name, range_ in space.items()}
        finally:
            trial.study.sampler = _AT_REST
