"""The studies of later seeds wait for those before them, and try their best settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import optuna

from search.driver.study_record import StudyRecord
from search.space.ranges import Value
from search.study.seed_promotion import max_settings, previous_study, promoted, settings_to_try

# Of an Optuna study: the settings that it tries.
PROMOTED = "promoted"


class LaterSeeds:
    """Which study comes after which, and how much each may try; records in the order of the seeds.

    A study that a budget had ended may go on, after later seeds tried what was best until then.
    What is better in the end is tried there too.

    `none` is called for each study that begins with nothing to try, and so has ended.
    """

    def __init__(
        self,
        records: Mapping[str, StudyRecord],
        factor: int | None,
        none: Callable[[StudyRecord], None],
    ) -> None:
        self._none = none
        self._most: dict[str, int] = {}
        self._waiting: list[tuple[StudyRecord, StudyRecord]] = []
        seeds = [*dict.fromkeys(record.study.seed for record in records.values())]
        for record in records.values() if factor is not None else ():
            earlier = previous_study(record.study, seeds)
            if earlier is not None:
                record.after = records[earlier.id]
                record.max_trials = max_settings(
                    record.max_trials, factor, seeds.index(record.study.seed)
                )
                self._most[record.study.id] = record.max_trials
                self._waiting.append((record, record.after))

    def settle(self) -> None:
        """Tells each study that may begin now how many settings there are for it."""
        for record, after in list(self._waiting):
            if not record.ready:
                continue
            earned = _earned(after)[: self._most[record.study.id]]
            if record.optuna is not None:
                if record.closed:
                    continue
                self._waiting.remove((record, after))
                _queue(
                    record,
                    record.optuna,
                    settings_to_try(record.optuna.user_attrs[PROMOTED], earned),
                )
                continue
            record.max_trials = len(earned)
            # One that is closed may be opened again, and so may that before it.
            if not record.max_trials and not record.closed:
                self._waiting.remove((record, after))
                self._none(record)


def queue(record: StudyRecord, after: StudyRecord, study: optuna.Study) -> None:
    """Queues the settings that a study tries; those that it was begun with, if it was."""
    _queue(record, study, study.user_attrs.get(PROMOTED, _earned(after)[: record.max_trials]))


def _queue(record: StudyRecord, study: optuna.Study, settings: list[dict[str, Value]]) -> None:
    if study.user_attrs.get(PROMOTED) != settings:
        study.set_user_attr(PROMOTED, settings)
    record.max_trials = len(settings)
    for setting in settings:
        study.enqueue_trial(setting, skip_if_exists=True)


def _earned(after: StudyRecord) -> list[dict[str, Value]]:
    return promoted(after.optuna.get_trials(deepcopy=False) if after.optuna else [])
