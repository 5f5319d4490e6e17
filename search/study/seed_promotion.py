"""Seeds as a fidelity: a setting earns its second and its third seed.

The study of a sweep's first seed searches. That of each later seed tries only the best settings of
the study before it, which has the same held-out domain, so nothing passes between held-out domains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from search.space.ranges import Value
from search.study.study import Study

Settings = Sequence[dict[str, Value]]


def most_settings(first: int, factor: int | None, place: int) -> int:
    """Settings that the study of the seed in this place (0: the first) tries at most.

    ceil(first / factor^place), where the first seed's has `first` trials; all without a factor.
    """
    return first if factor is None else math.ceil(first / factor**place)


def before(study: Study, seeds: Sequence[int]) -> Study | None:
    """The study whose best settings this one tries; None for that of the first seed."""
    place = seeds.index(study.seed)
    return replace(study, seed=seeds[place - 1]) if place else None


def max_trials(
    first: Mapping[Study, int],
    seeds: Sequence[int],
    factor: int | None,
    ended: Callable[[Study], Sequence[FrozenTrial] | None],
    begun: Callable[[Study], Settings],
) -> dict[Study, int]:
    """Trials of each study, of as many as it would have as the first seed's.

    `ended`: the trials of a study that has ended, None while it has not. A study whose predecessor
    has ended has as many as that completed different settings, if these are fewer than it may try,
    and with them those that it tried before: `begun`, the settings that a study was begun with.
    """
    found = dict(first)
    for study in first:
        earlier = before(study, seeds)
        if factor is None or earlier is None:
            continue
        found[study] = most_settings(first[study], factor, seeds.index(study.seed))
        trials = ended(earlier)
        if trials is not None:
            found[study] = len(to_try(begun(study), promoted(trials)[: found[study]]))
    return found


def to_try(begun: Settings, earned: Settings) -> list[dict[str, Value]]:
    """The settings of a study that was begun with some, now that these are what was earned."""
    return [*begun, *(setting for setting in earned if setting not in begun)]


def promoted(trials: Iterable[FrozenTrial]) -> list[dict[str, Value]]:
    """The best settings among completed trials, best first, each once.

    Of equals, the later trial's is first, as in selection. Pruned, diverged and failed trials have
    earned nothing.
    """
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    ended.sort(key=lambda trial: (trial.values[0], trial.number), reverse=True)
    settings: list[dict[str, Value]] = []
    for trial in ended:
        if trial.params not in settings:
            settings.append(dict(trial.params))
    return settings
