"""What a search maximizes: functions of one evaluation, by the names of a sweep file.

An objective named as a selection rule (search.results.selection_rules) gives a trial the value and
the step that the rule gives it. The objective leave-one-domain-out is no function of one
evaluation: its value comes from runs of their own (search.study.folds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # results know objectives by name, without torch
    from training.evaluation import Evaluation, Score


@dataclass(frozen=True)
class Objective:
    """An objective, and which of a trial's evaluations gives the trial's value.

    measured: the scores whose mean accuracy is the value of an evaluation. newest: the trial's
    value is that of its newest evaluation, else of the first best one so far. peeks: it sees the
    held-out domain.
    """

    measured: Callable[[Evaluation], list[Score]]
    newest: bool = False
    peeks: bool = False

    def value(self, evaluation: Evaluation) -> float:
        accuracies = [score.accuracy for score in self.measured(evaluation)]
        return sum(accuracies) / len(accuracies)

    def images(self, evaluation: Evaluation) -> int:
        """How many the value is measured on."""
        return sum(score.count for score in self.measured(evaluation))

    def prefers(self, new: Evaluation, old: Evaluation) -> bool:
        """Whether an evaluation takes the place of the earlier one that gave the trial's value."""
        return self.newest or self.value(new) > self.value(old)


def _sources(evaluation: Evaluation) -> list[Score]:
    return evaluation.source_out()


def _worst_source(evaluation: Evaluation) -> list[Score]:
    return [min(evaluation.source_out(), key=lambda score: score.accuracy)]


def _held_out(evaluation: Evaluation) -> list[Score]:
    return [s for s in evaluation.scores if s.role == "held_out" and s.split == "out"]


TRAINING_DOMAIN = Objective(_sources)
OBJECTIVES: dict[str, Objective] = {
    "training-domain": TRAINING_DOMAIN,
    "worst-source-domain": Objective(_worst_source),
    "last-step": Objective(_sources, newest=True),
    "oracle": Objective(_held_out, newest=True, peeks=True),
    "oracle-best-step": Objective(_held_out, peeks=True),
}
LEAVE_ONE_DOMAIN_OUT = "leave-one-domain-out"
NAMES = (*OBJECTIVES, LEAVE_ONE_DOMAIN_OUT)


def of_own_run(names: Iterable[str]) -> list[Objective]:
    """The objectives of these names, as a trial's own run has them.

    With folds that run gives the trial no value; it prefers its steps by training-domain.
    """
    return [OBJECTIVES.get(name, TRAINING_DOMAIN) for name in names]


def preference(names: Iterable[str]) -> Callable[[Evaluation, Evaluation], bool] | None:
    """`prefers` of training.train, so that the weights that it keeps are those of the value.

    None where they are anyway, and a second copy of the weights is spared.
    """
    first = OBJECTIVES.get(next(iter(names)), TRAINING_DOMAIN)
    return None if first is TRAINING_DOMAIN else first.prefers


def best_so_far(names: Iterable[str]) -> bool:
    """Whether what a trial reports under the first of these names never falls."""
    first = OBJECTIVES.get(next(iter(names)))
    return first is not None and not first.newest


def peeking(names: Iterable[str]) -> list[str]:
    """Those of these objectives that see the held-out domain."""
    return [name for name in names if name in OBJECTIVES and OBJECTIVES[name].peeks]
