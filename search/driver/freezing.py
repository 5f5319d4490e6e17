"""Decides, under the scheduler `freeze-thaw`, which trials of a study train on and which wait.

A decision is made at a report of a trial and when a worker is free, from what the journal knows of
the trial's own study. It is recorded before anybody acts on it.

Freeze-thaw search is by Swersky et al. 2014, arXiv 1406.3896; the model of curves here is our own
and as simple as can be. The logarithm of the error falls by about the same amount with each
doubling of the steps, so a trial's end is where its curve comes to if it falls on by SLOWER times
what it fell in its last doubling. The spread around this is SPREAD times the root of the doublings
to come, and is corrected by what the study's own completed trials came to: nothing is learned from
other studies, so no label of a held-out domain is used, and a study decides alike in any sweep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import TrialState

from search.driver.study_record import Running, StudyRecord
from search.study.budgets import Spent
from search.sweep.objectives import reports_best_so_far
from search.sweep.search_keys import FREEZE_THAW

# Frozen trials of a study whose checkpoints are kept; the others would start over.
MOST_CHECKPOINTS = 12

# Chosen on other studies than those of docs/search-efficiency.md.
SLOWER = 0.7  # of the fall in the last doubling, for each one to come
FIRST_FALL = -0.7  # per doubling, of the logarithm of the error, before a trial shows its own
SPREAD = 0.3  # of the logarithm of the error, for one doubling
OPTIMISM = 1.5  # standard deviations
PRIOR = 3.0  # completed trials that the spread above counts for
LEAST_ERROR = 1e-3

# Another trial takes the worker if it may end this much of accuracy higher: switching costs time.
SWITCH = 0.005

Curve = Mapping[int, float]  # step -> value so far


@dataclass(frozen=True)
class Standings:
    """Where the trials of a study stand, by number.

    values: of those that have not ended, as last reported. ends: how far each may come.
    best: the best last report of a completed trial, -inf without any.
    rising: whether a trial ends at least at its value. worked: what the study has trained, in
    trials of full length.
    """

    values: Mapping[int, float]
    ends: Mapping[int, float]
    best: float
    rising: bool
    worked: float

    @property
    def leader(self) -> int | None:
        """The trial that would win if it ended now, if it has not ended yet."""
        number = max(self.values, key=lambda n: (self.values[n], n), default=None)
        return number if number is not None and self.values[number] > self.best else None

    def may_win(self, number: int) -> bool:
        """Whether a trial may come to more than every other has for certain."""
        others = (value for other, value in self.values.items() if other != number)
        sure = max(self.best, *others, -math.inf) if self.rising else self.best
        return number == self.leader or self.ends.get(number, math.inf) > sure


class Freezing:
    """What `freeze-thaw` says of each study; for studies that it does not apply to, nothing."""

    def __init__(self) -> None:
        self._known: dict[str, Standings] = {}

    def applies(self, record: StudyRecord) -> bool:
        """Whether the study's trials are frozen; as with pruning, those of later seeds are not."""
        return record.plan.search.scheduler == FREEZE_THAW and record.previous is None

    def changed(self, record: StudyRecord) -> None:
        """Says that a trial of the study has reported, ended or begun."""
        self._known.pop(record.study.id, None)

    def freezes(self, record: StudyRecord, running: Running, step: int) -> bool:
        """Whether a trial gives its worker to another after its report at this step.

        It does so if it can no longer win, or if a trial that waits may come further; before its
        grace has ended it does not. Once a budget is spent, only the trial that leads goes on.
        """
        self.changed(record)
        now, own = self._standings(record), running.spec.number
        if record.closed:
            return own != now.leader
        if step < record.plan.grace_steps * record.plan.resource_per_step:
            return False
        if not now.may_win(own):
            return True
        before = sum(
            now.ends[other.spec.number] > now.ends[own] + SWITCH
            for other in record.frozen.values()
            if now.may_win(other.spec.number)
        )
        if record.draws_next:
            before += record.max_trials - record.asked
        # Each of those that are leaving makes room for one.
        return before > sum(other.frozen for other in record.running.values())

    def waits(self, record: StudyRecord) -> bool:
        """Whether the study has a trial that a free worker is to train."""
        return record.open or (self.applies(record) and self.to_thaw(record) is not None)

    def to_thaw(self, record: StudyRecord) -> Running | None:
        """The frozen trial that a free worker is to train; None for a new one, or none at all.

        New trials come first as long as they are drawn at random. A sampler that learns is asked
        again when no frozen trial can win, so when it knows most.
        """
        if not record.frozen or record.draws_next:
            return None
        now = self._standings(record)
        frozen = {running.spec.number: running for running in record.frozen.values()}
        if record.closed:
            return None if now.leader is None else frozen.get(now.leader)
        able = [number for number in frozen if now.may_win(number)]
        return frozen[max(able, key=lambda n: (now.ends[n], now.values[n], n))] if able else None

    def able(self, record: StudyRecord) -> int:
        """How many frozen trials free workers would be given, as the study stands now."""
        if record.closed:
            return int(self.to_thaw(record) is not None)
        return len(record.frozen) - len(self.settled(record))

    def settled(self, record: StudyRecord) -> list[int]:
        """The frozen trials that can no longer win."""
        if not record.frozen:
            return []
        now = self._standings(record)
        return [r.spec.number for r in record.frozen.values() if not now.may_win(r.spec.number)]

    def without_checkpoint(self, record: StudyRecord) -> list[Running]:
        """The frozen trials whose checkpoints are not kept: the least promising ones."""
        if not record.frozen:
            return []
        now, hopeless = self._standings(record), self.settled(record)
        order = sorted(
            record.frozen.values(),
            key=lambda running: (
                running.spec.number not in hopeless,
                now.ends[running.spec.number],
            ),
            reverse=True,
        )
        kept = min(MOST_CHECKPOINTS, len(order) - len(hopeless))
        return order[kept:]

    def worked(self, record: StudyRecord) -> float:
        """What a study has had of the cluster, in trials of full length."""
        return self._standings(record).worked if self.applies(record) else record.asked

    def reserve(self, record: StudyRecord) -> Spent:
        """What the trial that leads has to spend until its end: without one nothing is chosen."""
        if not self.applies(record) or record.optuna is None:
            return Spent()
        leader = self._standings(record).leader
        for running in (*record.running.values(), *record.frozen.values()):
            said = running.progress
            if running.spec.number == leader and said is not None and said.step:
                more = max(record.plan.total_steps / said.step - 1, 0.0)
                return Spent(0, said.seconds * more, said.passes * more)
        return Spent()

    def _standings(self, record: StudyRecord) -> Standings:
        known = self._known.get(record.study.id)
        if known is None:
            known = self._known[record.study.id] = _standings(record)
        return known


def _standings(record: StudyRecord) -> Standings:
    plan = record.plan
    folds = plan.makes_folds
    # The values of a trial with folds are known before its own run.
    last = plan.total_steps - plan.training.steps * folds
    steps = int(last * plan.resource_per_step)
    trials = record.optuna.get_trials(deepcopy=False) if record.optuna is not None else []
    curves = {trial.number: trial.intermediate_values for trial in trials}
    done = [curves[t.number] for t in trials if t.state == TrialState.COMPLETE]
    done = [curve for curve in done if curve]
    open_ = [t.number for t in trials if t.state == TrialState.RUNNING and curves[t.number]]
    return Standings(
        values={number: curves[number][max(curves[number])] for number in open_},
        ends={number: optimistic_end(curves[number], steps, done, folds) for number in open_},
        best=max((curve[max(curve)] for curve in done), default=-math.inf),
        rising=reports_best_so_far(plan.search.objectives),
        worked=sum(max(curve) / steps for curve in curves.values() if curve),
    )


def optimistic_end(
    curve: Curve, steps: int, completed: Sequence[Curve], folds: bool = False
) -> float:
    """The value that a trial may come to if things go well.

    curve: what it reported, at least once. steps: at its end. completed: the curves of the study's
    completed trials. folds: whether the values are means over folds, which do not rise as curves
    do.
    """
    now = max(curve)
    mean, deviation = _fall(curve, now, steps, folds)
    if not deviation:
        return curve[now]
    # How the completed trials ended, compared with what was expected of them at this step.
    misses = []
    for other in completed:
        seen = {step: value for step, value in other.items() if step <= now}
        if seen:
            expected = _log_error(seen[max(seen)]) + _fall(seen, max(seen), steps, folds)[0]
            misses.append(_log_error(other[max(other)]) - expected)
    known = PRIOR + len(misses)
    shift = sum(misses) / known
    variance = PRIOR * deviation**2 + sum((miss - shift) ** 2 for miss in misses)
    fall = min(mean + shift - OPTIMISM * math.sqrt(variance / known), 0.0)
    return max(1 - math.exp(_log_error(curve[now]) + fall), curve[now])


def _fall(curve: Curve, now: int, steps: int, folds: bool) -> tuple[float, float]:
    """By what the logarithm of the error falls from `now` to the end: mean, standard deviation."""
    if now >= steps:
        return 0.0, 0.0
    doublings = math.log2(steps / now)
    deviation = SPREAD * math.sqrt(doublings)
    if folds:
        return 0.0, deviation
    before = max((step for step in curve if step <= now / 2), default=min(curve))
    fall = FIRST_FALL
    if before < now:
        fall = (_log_error(curve[now]) - _log_error(curve[before])) / math.log2(now / before)
    return SLOWER * min(fall, 0.0) * doublings, deviation


def _log_error(value: float) -> float:
    return math.log(max(1 - value, LEAST_ERROR))
