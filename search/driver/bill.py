"""What a sweep will cost: steps, passes, images, space and time, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import Any

from search.driver.trial_cost import (
    EACH_TRIAL,
    Cost,
    cost_of,
    probe_cost,
    probes_of,
    settings,
    varies,
)
from search.screen import clock_time
from search.space.ranges import Value
from search.study.plan import StudyPlan
from search.study.study import Study
from training.timing import Timing

# Of the passes of all trials at full length, what schedulers spent, from and to, with 20 trials of
# a study (docs/search-efficiency.md); with the five of the quickstart it was 62 %.
SPENT = {"asha": (0.54, 0.72)}
DEAR = 2.0  # a trial is worth a line from so many times the usual cost


@dataclass(frozen=True)
class TrialBill:
    """The cost of one trial of a study, and how much of it is still to pay."""

    plan: StudyPlan
    number: int
    cost: Cost
    left: float = 1.0


@dataclass(frozen=True)
class Bill:
    """The cost of a sweep. images: of each domain, by dataset. timed: by dataset and algorithm."""

    trials: Sequence[TrialBill]
    images: Mapping[str, Mapping[str, int]]
    timed: Mapping[tuple[str, str], Timing] = field(default_factory=dict)

    @cached_property
    def studies(self) -> Mapping[Study, Sequence[TrialBill]]:
        """The trials of each study."""
        found: dict[Study, list[TrialBill]] = {}
        for trial in self.trials:
            found.setdefault(trial.plan.study, []).append(trial)
        return found

    @cached_property
    def whole(self) -> Cost:
        """What is left to pay, if no trial is stopped."""
        parts = (trial.cost.times(trial.left) for trial in self.trials if trial.left)
        return sum(parts, Cost())

    def spent(self) -> tuple[float, float]:
        """What share of that trials will cost, from and to, as the search stops some.

        Of a mean over seeds, one setting at least is trained with all of them.
        """
        plan = max((own[0].plan for own in self.studies.values()), key=lambda one: one.trials)
        low, high = spent_share(plan)
        seeds = len({study.seed for study in self.studies})
        if plan.search.objective_over == "seeds":
            low *= (plan.trials + seeds - 1) / (plan.trials * seeds)
        return low, high

    @property
    def busy(self) -> float:
        """The share of this machine that was left to timed steps; 1 if none were."""
        found = [timing.busy for timing in self.timed.values()]
        return sum(found) / len(found) if found else 1.0

    def by(self, key: Callable[[TrialBill], Any]) -> dict[Any, Cost]:
        """The cost that is left, by something that trials have."""
        found: dict[Any, Cost] = {}
        for trial in self.trials:
            name = key(trial)
            found[name] = found.get(name, Cost()) + trial.cost.times(trial.left)
        return found

    def dear(self) -> list[tuple[TrialBill, float]]:
        """Of each algorithm on a dataset, the dearest trial if it is far above the usual one."""
        found = []
        groups: dict[Any, list[TrialBill]] = {}
        for trial in self.trials:
            if trial.left:
                study = trial.plan.study
                groups.setdefault((study.dataset, study.algorithm), []).append(trial)
        for group in groups.values():
            usual = median(ordinary(trial) for trial in group)
            most = max(group, key=lambda trial: trial.cost.passes)
            if usual and most.cost.passes > DEAR * usual:
                found.append((most, most.cost.passes / usual))
        return found


def ordinary(trial: TrialBill) -> float:
    """The passes that a trial would cost if all of its steps were ordinary ones."""
    return trial.cost.steps * trial.plan.passes_per_step


def spent_share(plan: StudyPlan) -> tuple[float, float]:
    """What share of full-length trials a study spends, from and to.

    See SPENT. For a scheduler that was not measured: if all trials but one were stopped as soon as
    they may be, and if none were.
    """
    scheduler = plan.search.scheduler
    first = max(plan.grace_steps, plan.training.evaluate_every) / plan.total_steps
    if scheduler == "none" or first >= 1 or plan.trials == 1:
        return 1.0, 1.0
    return SPENT.get(scheduler, ((1 + (plan.trials - 1) * first) / plan.trials, 1.0))


def bills(
    plans: Mapping[str, StudyPlan],
    trials: Mapping[str, int],
    images: Mapping[str, Mapping[str, int]],
    timed: Mapping[tuple[str, str], Timing],
) -> list[TrialBill]:
    """The bill of each trial of these plans. trials: how many each study may have, by its name."""
    held_out: dict[str, set[str]] = {}
    for plan in plans.values():
        held_out.setdefault(plan.study.dataset, set()).add(plan.study.held_out)
    probed = set[Any]()
    known: dict[Any, Cost] = {}
    found = []
    values: dict[tuple[str, str], list[dict[str, Value]]] = {}
    for name, plan in plans.items():
        study = plan.study
        key = study.dataset, study.algorithm
        if key not in values or len(values[key]) < trials[name]:
            values[key] = [settings(plan, number) for number in range(trials[name])]
        different = varies(plan)
        for number in range(trials[name]):
            own = values[key][number]
            cost_key = (*key, study.held_out, tuple(sorted(own.items())) if different else None)
            if cost_key not in known:
                counts, timing = images[study.dataset], timed.get(key)
                known[cost_key] = cost_of(plan, own, counts, timing, held_out[study.dataset])
            cost = known[cost_key]
            for probe in probes_of(plan, images[study.dataset]) if number == 0 else ():
                if probe not in probed:
                    probed.add(probe)
                    cost += probe_cost(plan, timed.get(key))
            found.append(TrialBill(plan, number, cost))
    return found


def from_rates(
    trials: Sequence[TrialBill], rates: Mapping[tuple[str, str], float]
) -> list[TrialBill]:
    """The bills with seconds by those of a pass, which are known for a dataset and an algorithm."""
    found = []
    for trial in trials:
        rate = rates.get((trial.plan.study.dataset, trial.plan.study.algorithm))
        if rate is not None:
            seconds = trial.cost.passes * rate + EACH_TRIAL
            trial = replace(trial, cost=replace(trial.cost, seconds=seconds))
        found.append(trial)
    return found


def first_line(name: str, bill: Bill, ended: int = 0) -> str:
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
    done = f", of which {ended:,} have ended" if ended else ""
    count = several("study", len(studies), "studies")
    return f"{name}: {count} ({', '.join(parts)}), {several('trial', len(bill.trials))}{done}"


def dear_lines(bill: Bill) -> Iterator[str]:
    """The trials that cost far more than others of their algorithm, as one of GGA may."""
    for trial, times in bill.dear():
        run = trial.cost
        yield (
            f"Dear: {name_of(trial)} takes {number(run.passes)} passes, {times:.0f} times those of "
            f"{number(run.steps)} ordinary steps"
            + (f" ({clock_time(run.seconds)})" if run.seconds else "")
        )


def name_of(trial: TrialBill) -> str:
    """The name of a trial as tables print it."""
    return f"{trial.plan.study.title}.{trial.number}"


def number(value: float) -> str:
    """A large number in few digits."""
    for power, letter in ((1e9, "bn"), (1e6, "M")):
        if value >= 10 * power:
            return f"{value / power:,.0f} {letter}"
        if value >= power:
            return f"{value / power:.1f} {letter}"
    return f"{value:,.0f}"
