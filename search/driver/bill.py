"""What a sweep will cost: the costs of its trials, summed, and how long they take here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

from search.driver.freezing import MOST_CHECKPOINTS
from search.driver.trial_cost import Cost
from search.screen import clock_time
from search.study.budgets import BUDGET, Limit, Spent, limits
from search.study.plan import StudyPlan
from search.study.study import Study
from search.sweep.schema import Sweep
from search.sweep.search_keys import FREEZE_THAW
from training.timing import Timing

# Of the passes of all trials at full length, what schedulers spent, from and to, with 20 trials of
# a study (docs/search-efficiency.md); with the five of the quickstart it was 62 %.
SPENT = {"asha": (0.54, 0.72)}
COSTLY = 2.0  # a trial gets a line if it costs this many times the usual
START = 12.0  # seconds until Ray and its first workers are up
# Bytes of the tables and of Optuna's journal, of a trial and of each of its evaluations.
OF_TRIAL, OF_EVALUATION = 12_000, 1_000

Method = tuple[str, str]  # dataset, algorithm


@dataclass(frozen=True)
class TrialBill:
    """The cost of one trial of a study, and which share of it is still to pay."""

    plan: StudyPlan
    number: int
    cost: Cost
    left: float = 1.0

    @property
    def name(self) -> str:
        """Its name as tables print it."""
        return f"{self.plan.study.title}.{self.number}"

    @property
    def ordinary_passes(self) -> float:
        """The passes that it would cost if all of its steps were ordinary ones."""
        return self.cost.steps * self.plan.passes_per_step


@dataclass(frozen=True)
class Bill:
    """The cost of a sweep, or of what is left of a run, on this machine.

    images: of each domain, by dataset. timed: the methods whose steps were timed. workers: trials
    at a time; None where the hours are not known. pace: the share of its time that a worker would
    compute, beside the other processes of this machine. undecoded: bytes of the images that are
    still to be decoded, and their number. notes: what the bill could not know, or took from
    elsewhere.
    """

    sweep: Sweep
    trials: Sequence[TrialBill]
    images: Mapping[str, Mapping[str, int]]
    timed: Mapping[Method, Timing] = field(default_factory=dict)
    workers: int | None = None
    pace: float = 1.0
    undecoded: tuple[int, int] = (0, 0)
    notes: Sequence[str] = ()

    @cached_property
    def studies(self) -> Mapping[Study, Sequence[TrialBill]]:
        """The trials of each study."""
        return _groups(self.trials, lambda study: study)

    @property
    def ended(self) -> int:
        """How many trials are paid."""
        return sum(trial.left == 0 for trial in self.trials)

    @cached_property
    def whole(self) -> Cost:
        """The cost of all trials, those that are paid among them."""
        return sum((trial.cost for trial in self.trials), Cost())

    @cached_property
    def left(self) -> Cost:
        """What is left to pay, if no trial is stopped."""
        return _left(self.trials)

    def left_by(self, key: Callable[[Study], Any]) -> dict[Any, Cost]:
        """What is left to pay, by something that studies have."""
        return {name: _left(trials) for name, trials in _groups(self.trials, key).items()}

    def left_by_method(self) -> dict[Method, Cost]:
        """What is left to pay of each algorithm on each dataset."""
        return self.left_by(_method)

    @cached_property
    def spends(self) -> tuple[float, float]:
        """The least and the largest share of the full cost, as the search stops some trials.

        See SPENT. For a scheduler that was not measured: if all trials but one were stopped as soon
        as they may be, and if none were. Of a mean over seeds, one setting at least is trained with
        all of them.
        """
        search = self.sweep.search
        plan = max((own[0].plan for own in self.studies.values()), key=lambda one: one.trials)
        first = max(plan.grace_steps, plan.training.evaluate_every) / plan.total_steps
        low, high = SPENT.get(
            search.scheduler, ((1 + (plan.trials - 1) * first) / plan.trials, 1.0)
        )
        if search.scheduler == "none" or first >= 1 or plan.trials == 1:
            low = high = 1.0
        if search.objective_over == "seeds":
            seeds = len({study.seed for study in self.studies})
            low *= (plan.trials + seeds - 1) / (plan.trials * seeds)
        return low, high

    def wall_seconds(self, share: float = 1.0) -> float | None:
        """Seconds from the start to the end if trials cost this share; None if not known."""
        if self.workers is None:
            return None
        # The last trial is alone; a worker more does not make it shorter.
        longest = max((trial.cost.seconds * trial.left for trial in self.trials), default=0.0)
        seconds = START + max(self.left.seconds * share / self.workers, longest)
        return seconds / self.pace if self.left.trials else 0.0

    def reached_limits(self) -> list[Limit]:
        """The limits of the sweep's budget that its trials would reach."""
        share = self.spends[1]
        cost = self.whole.times(share)
        return [
            limit
            for limit in limits(
                BUDGET,
                self.sweep.search.budget.model_dump(),
                self.sweep.resources.model_dump(),
                Spent(len(self.trials), cost.seconds, cost.passes),
                (self.wall_seconds(share) or 0.0) / 3600,
            )
            if limit.reached
        ]

    def disk(self) -> dict[str, int | None]:
        """Bytes that a run will take at most, by kind; None where it is not known."""
        tables = int(OF_TRIAL * self.whole.trials + OF_EVALUATION * self.whole.evaluations)
        if not self.timed:
            return {"tables": tables, "checkpoints": None, "weights": None}
        search = self.sweep.search
        checkpoints, weights = 2 * (self.workers or 1), 0
        for study, trials in self.studies.items():
            timing = self.timed.get(_method(study))
            most = len(trials) if search.most_kept is None else min(search.most_kept, len(trials))
            weights += most * (timing.weights if timing else 0)
            if search.scheduler == FREEZE_THAW:
                checkpoints += min(MOST_CHECKPOINTS, len(trials))
        largest = max(timing.checkpoint for timing in self.timed.values())
        return {"tables": tables, "checkpoints": checkpoints * largest, "weights": weights}

    def costly(self) -> list[tuple[TrialBill, float]]:
        """Of each method, the costliest trial if it is far above the usual one, and how far."""
        found = []
        unpaid = [trial for trial in self.trials if trial.left]
        for trials in _groups(unpaid, _method).values():
            usual = median(trial.ordinary_passes for trial in trials)
            most = max(trials, key=lambda trial: trial.cost.passes)
            if usual and most.cost.passes > COSTLY * usual:
                found.append((most, most.cost.passes / usual))
        return found

    def one_less(self) -> list[tuple[str, str, float]]:
        """The share of what is left to pay that leaving one out would save, by what is left out.

        Each is a kind (dataset, algorithm, seed, held-out domain), its name and the share. The name
        is empty if all of a kind save the same.
        """
        several = len(self.images) > 1
        keys: Mapping[str, Callable[[Study], Any]] = {
            "dataset": lambda study: study.dataset,
            "algorithm": lambda study: study.algorithm,
            "seed": lambda study: study.seed,
            "held-out domain": lambda study: f"{study.dataset} " * several + study.held_out,
        }
        whole = self.left.seconds or self.left.passes
        found = []
        for what, key in keys.items() if whole else ():
            costs = self.left_by(key)
            shares = {str(name): (c.seconds or c.passes) / whole for name, c in costs.items()}
            if max(shares.values()) - min(shares.values()) < 0.01:
                shares = {"": next(iter(shares.values()))}
            if len(costs) > 1:
                found += [(what, name, share) for name, share in shares.items() if share]
        return found


def _method(study: Study) -> Method:
    return study.dataset, study.algorithm


def _groups(trials: Iterable[TrialBill], key: Callable[[Study], Any]) -> dict[Any, list[TrialBill]]:
    found: dict[Any, list[TrialBill]] = {}
    for trial in trials:
        found.setdefault(key(trial.plan.study), []).append(trial)
    return found


def _left(trials: Iterable[TrialBill]) -> Cost:
    return sum((trial.cost.times(trial.left) for trial in trials), Cost())


def first_line(bill: Bill) -> str:
    """How large a sweep is: studies, and trials."""
    studies = bill.studies

    def several(what: str, count: int, plural: str = "") -> str:
        return f"{count:,} {what}" if count == 1 else f"{count:,} {plural or what + 's'}"

    parts = [
        several("dataset", len({study.dataset for study in studies})),
        several("algorithm", len({study.algorithm for study in studies})),
        several("held-out domain", len({(s.dataset, s.held_out) for s in studies})),
        several("seed", len({study.seed for study in studies})),
    ]
    done = f", of which {bill.ended:,} have ended" if bill.ended else ""
    count = several("study", len(studies), "studies")
    return (
        f"{bill.sweep.name}: {count} ({', '.join(parts)}), "
        f"{several('trial', len(bill.trials))}{done}"
    )


def costly_lines(bill: Bill) -> Iterator[str]:
    """The trials that cost far more than others of their algorithm, as one of GGA may."""
    for trial, times in bill.costly():
        run = trial.cost
        yield (
            f"Costly: {trial.name} takes {number(run.passes)} passes, {times:.0f} times those of "
            f"{number(run.steps)} ordinary steps"
            + (f" ({clock_time(run.seconds)})" if run.seconds else "")
        )


def number(value: float) -> str:
    """A large number in few digits."""
    for power, letter in ((1e9, "bn"), (1e6, "M")):
        if value >= 10 * power:
            return f"{value / power:,.0f} {letter}"
        if value >= power:
            return f"{value / power:.1f} {letter}"
    return f"{value:,.0f}"
