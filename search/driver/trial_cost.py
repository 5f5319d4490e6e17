"""What one trial will cost: steps, passes, images and, where steps were timed, seconds."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, fields, replace

from datasets.randomness import HOLDOUT
from search.space.ranges import Fixed, Range, Value
from search.study import samplers
from search.study.folds import folds_of
from search.study.plan import StudyPlan
from search.study.samplers import SharedDraws, distribution
from training.algorithms import hyperparameters, parse
from training.algorithms.gga import GGA
from training.run import Run
from training.run_data import MEASURED
from training.timing import Timing
from training.update import FORWARD

# Seconds that each trial takes besides: its worker, its files, the driver's answers.
EACH_TRIAL = 0.3


@dataclass(frozen=True)
class Cost:
    """The cost of some trials. All but trials may be fractions, of what trials share.

    runs: trainings, folds included. trained, scored: images. seconds: of one worker.
    """

    trials: float = 0
    runs: float = 0
    steps: float = 0
    passes: float = 0
    evaluations: float = 0
    trained: float = 0
    scored: float = 0
    seconds: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, share: float) -> Cost:
        """This share of it."""
        return Cost(*(getattr(self, f.name) * share for f in fields(self)))


def costs_of(
    plan: StudyPlan,
    count: int,
    images: Mapping[str, int],
    timing: Timing | None,
    held_out: Collection[str],
) -> list[Cost]:
    """The costs of the first `count` trials of a study, without the probes that they start from.

    images: of each domain. timing: of the study's method, if its steps were timed. held_out: all
    that the sweep holds out of the dataset, whose studies may share folds.
    """
    names = ["batch_size"]
    if "search_steps" in plan.space:
        names += ["search_steps", "start", "length", "dropout"]
    alike = all(isinstance(plan.space[name], Fixed) for name in names if name in plan.space)
    tried = settings(plan, 1 if alike else count)
    costs = [_cost_of(plan, values, images, timing, held_out) for values in tried]
    return costs * count if alike else costs


def settings(plan: StudyPlan, count: int) -> list[dict[str, Value]]:
    """The settings of the first trials: what the study begins with, then as `random` draws.

    A sampler that learns, and a grid, will try others.
    """
    first, draws = plan.first_settings(), SharedDraws(plan.search.seed)

    def value(number: int, name: str, range_: Range) -> Value:
        if isinstance(range_, Fixed):
            return range_.value
        if number < len(first) and name in first[number]:
            return first[number][name]
        drawn: Value = draws.draw(number, name, distribution(range_))
        return drawn

    return [
        {name: value(number, name, range_) for name, range_ in plan.space.items()}
        for number in range(count)
    ]


def _cost_of(
    plan: StudyPlan,
    values: Mapping[str, Value],
    images: Mapping[str, int],
    timing: Timing | None,
    held_out: Collection[str],
) -> Cost:
    run = plan.trial(0, values).run
    per_step = plan.passes_per_step if timing is None else timing.passes
    cost = first = replace(_run_cost(run, values, images, timing, per_step), trials=1)
    if run.retrain != "none" and run.steps:
        cost += _second_stage(plan, first, sum(images[name] for name in run.unseen), timing)
    if plan.makes_folds:
        # Both of two studies with the same setting need the fold without both of their domains.
        shared = plan.search.sampler in samplers.UNGUIDED
        for fold in folds_of(run, [*images]):
            share = 0.5 if shared and fold.left_out in held_out else 1.0
            cost += _run_cost(fold, values, images, timing, per_step).times(share)
    return replace(cost, seconds=cost.seconds + EACH_TRIAL * (timing is not None))


def _second_stage(plan: StudyPlan, first: Cost, scored: int, timing: Timing | None) -> Cost:
    """At most: it may end at the selected step of the first. scored: images, at its end."""
    seconds = 0.0 if timing is None else first.seconds - (first.scored - scored) * timing.image
    stage = replace(first, trials=0, evaluations=1, scored=scored, seconds=seconds)
    return stage + probe_cost(plan, timing) if plan.training.start != "model" else stage


def _run_cost(
    run: Run,
    values: Mapping[str, Value],
    images: Mapping[str, int],
    timing: Timing | None,
    per_step: float,
) -> Cost:
    sources = [name for name in images if name not in run.unseen]
    batch = float(values.get("batch_size", 32))
    points = _points(run, values, timing)
    passes = run.steps * per_step + points
    evaluations = max(math.ceil(run.steps / run.evaluate_every), 1)
    unseen = sum(images[name] for name in run.unseen)
    if run.left_out is not None:
        scored = evaluations * (1 - HOLDOUT) * unseen
    elif run.evaluations == "all":
        scored = float(evaluations * sum(images.values()))
    else:
        scored = evaluations * HOLDOUT * sum(images[name] for name in sources)
        scored += evaluations * HOLDOUT * unseen if run.evaluations == "held_out" else 0.0
        # With the best and with the last weights, or with the average.
        scored += unseen * (2.0 if run.averaging == "none" and evaluations > 1 else 1.0)
    seconds = 0.0
    if timing is not None:
        training = run.steps * timing.step + points * timing.search
        seconds = timing.build + training * batch / timing.batch + scored * timing.image
        if run.averaging != "none" and timing.measures:
            seconds += MEASURED * timing.step / timing.passes * FORWARD
    trained = run.steps * batch * len(sources)
    return Cost(0, 1, run.steps, passes, evaluations, trained, scored, seconds)


def _points(run: Run, values: Mapping[str, Value], timing: Timing | None) -> float:
    """The passes of GGA's search in its window; 0 for an algorithm without."""
    if "GGA" not in parse(run.algorithm):
        return 0.0
    defaults = hyperparameters(run.algorithm)
    own = {n: int(values.get(n, defaults[n])) for n in ("search_steps", "start", "length")}
    window = min(own["start"] + own["length"], run.steps - 1) - own["start"] + 1
    looks = run.bn == "updated" if timing is None else timing.redrawn
    redrawn = looks or bool(values.get("dropout"))
    annealed = GGA(search_steps=own["search_steps"]).annealed_cost(redrawn) - GGA.cost
    return max(window, 0) * annealed


def probes_of(plan: StudyPlan, domains: Collection[str]) -> list[Hashable]:
    """The linear probes that a study's trials start from; studies share equal ones."""
    run = plan.trial(0, {}).run
    runs = [run, *(folds_of(run, [*domains]) if plan.makes_folds else ())]
    return [
        (run.dataset, run.seed, frozenset(own.unseen), run.start_steps, run.start_lr)
        for own in runs
        if own.start != "model"
    ]


def probe_cost(plan: StudyPlan, timing: Timing | None) -> Cost:
    """The cost of a linear probe that a study's trials start from."""
    steps = plan.training.start_steps or plan.training.steps
    seconds = 0.0 if timing is None else steps * timing.step / timing.passes * FORWARD
    return Cost(steps=steps, passes=steps * FORWARD, seconds=seconds)
