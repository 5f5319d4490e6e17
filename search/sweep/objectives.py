"""What a search maximizes: functions of one evaluation, by the names of a sweep file.

An objective with the name of a selection rule (search.results.selection_rules) gives a trial the
value and the step that the rule gives it. leave-one-domain-out is no function of one evaluation:
its value comes from runs of their own (search.study.folds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # results know objectives by name, without torch
    from training.evaluation import Evaluation, Score


@dataclass(frozen=True)
class Objective:
    """An objective: the value of an evaluation, and which evaluation gives the trial's value.

    scores: of an evaluation; their mean accuracy is its value. newest: the trial's value is that
    of its newest evaluation; otherwise of the first best one so far. oracle: it sees the held-out
    domain.
    """

    scores: Callable[[Evaluation], list[Score]]
    newest: bool = False
    oracle: bool = False

    def value(self, evaluation: Evaluation) -> float:
        """Mean accuracy, in [0, 1]."""
        accuracies = [score.accuracy for score in self.scores(evaluation)]
        return sum(accuracies) / len(accuracies)

    def images(self, evaluation: Evaluation) -> int:
        """How many images the value is measured on."""
        return sum(score.count for score in self.scores(evaluation))

    def prefers(self, new: Evaluation, old: Evaluation) -> bool:
        """Whether `new` replaces the earlier `old` as the evaluation of the trial's value."""
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
    "oracle": Objective(_held_out, newest=True, oracle=True),
    "oracle-best-step": Objective(_held_out, oracle=True),
}
LEAVE_ONE_DOMAIN_OUT = "leave-one-domain-out"
OBJECTIVE_NAMES = (*OBJECTIVES, LEAVE_ONE_DOMAIN_OUT)


def objectives_of_run(names: Iterable[str]) -> list[Objective]:
    """The objectives of these names, as they apply to the trial's own run.

    leave-one-domain-out gets its value from the folds; the own run then prefers its steps by
    training-domain.
    """
    return [OBJECTIVES.get(name, TRAINING_DOMAIN) for name in names]


def preference(names: Iterable[str]) -> Callable[[Evaluation, Evaluation], bool] | None:
    """`prefers` for training.train, so that it keeps the weights that gave the trial's value.

    None for training-domain, whose weights it keeps anyway, without a second copy.
    """
    first = OBJECTIVES.get(next(iter(names)), TRAINING_DOMAIN)
    return None if first is TRAINING_DOMAIN else first.prefers


def reports_best_so_far(names: Iterable[str]) -> bool:
    """Whether a trial reports its best value so far under the first of these names."""
    first = OBJECTIVES.get(next(iter(names)))
    return first is not None and not first.newest


def oracles(names: Iterable[str]) -> list[str]:
    """Those of these objectives that see the held-out domain."""
    return [name for name in names if name in OBJECTIVES and OBJECTIVES[name].oracle]
