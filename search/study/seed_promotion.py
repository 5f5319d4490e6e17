"""Seed promotion: only the best settings of a seed's study are tried with the next seed.

The study of a sweep's first seed searches. That of each later seed tries the best settings of the
study before it, which has the same held-out domain: nothing passes between held-out domains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from search.space.ranges import Value
from search.study.study import Study

Settings = Sequence[dict[str, Value]]


def max_settings(first: int, factor: int | None, place: int) -> int:
    """The most settings that the study of a seed tries.

    ceil(first / factor^place), with `first` trials in the first seed's study and the seed's place
    in the sweep from 0; `first` without a factor.
    """
    return first if factor is None else math.ceil(first / factor**place)


def previous_study(study: Study, seeds: Sequence[int]) -> Study | None:
    """The study whose best settings this one tries; None for the first seed."""
    place = seeds.index(study.seed)
    return replace(study, seed=seeds[place - 1]) if place else None


def max_trials(
    first: Mapping[Study, int],
    seeds: Sequence[int],
    factor: int | None,
    ended: Callable[[Study], Sequence[FrozenTrial] | None],
    begun: Callable[[Study], Settings],
) -> dict[Study, int]:
    """The number of trials of each study.

    first: what each would have with the first seed. ended: gives the trials of a study that has
    ended, None for one that has not. begun: gives the settings that a study began with. Once the
    previous study has ended, a study tries the settings that it began with and the best that the
    previous one completed, at most `max_settings`.
    """
    found = dict(first)
    for study in first:
        earlier = previous_study(study, seeds)
        if factor is None or earlier is None:
            continue
        found[study] = max_settings(first[study], factor, seeds.index(study.seed))
        trials = ended(earlier)
        if trials is not None:
            found[study] = len(settings_to_try(begun(study), promoted(trials)[: found[study]]))
    return found


def settings_to_try(begun: Settings, promoted: Settings) -> list[dict[str, Value]]:
    """The settings that a study began with, then the promoted ones that are new to it."""
    return [*begun, *(setting for setting in promoted if setting not in begun)]


def promoted(trials: Iterable[FrozenTrial]) -> list[dict[str, Value]]:
    """The best settings among completed trials, best first, each once.

    Of equals, the later trial's is first, as in selection. Settings of pruned, diverged and failed
    trials are left out.
    """
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    ended.sort(key=lambda trial: (trial.values[0], trial.number), reverse=True)
    settings: list[dict[str, Value]] = []
    for trial in ended:
        if trial.params not in settings:
            settings.append(dict(trial.params))
    return settings
