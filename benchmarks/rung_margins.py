"""Which margin lets asha keep the protocol's winner, on how many validation images it may be.

Runs are trained once, at full length, and validated at each evaluation on 75 to 3,000 images that
none of them trains on. Then searches are replayed on these curves: the trials of a study in several
orders, some at a time, stopped by the pruner of a margin. For each margin and number of images: the
share of searches that complete the trial whose best validation is the highest of all, how many
points their choice is behind it, and the passes that they spend of those of all trials.

    python -m benchmarks.rung_margins --output runs/rungs --steps 300 --seeds 0 1

The folder gets a line for each run; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import optuna
import torch
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks.search_efficiency import DOMAINS, Setup, sweep_of
from datasets import rotated_digits
from datasets.domain_dataset import Domain, DomainDataset
from datasets.randomness import split
from search.driver.pruning import NoisePruner, RungPruner
from search.driver.study_record import IMAGES
from search.space.ranges import Choice, Fixed, Interval, Range, Value
from search.study.plan import default_grace, plans
from training.evaluation import Part, evaluate
from training.run import Run
from training.trainer import Trainer

# Numbers of validation images, nested: the out splits of the protocol have 300.
COUNTS = (75, 300, 1200, 3000)


@dataclass(frozen=True)
class Recorded:
    """One run, an entry for each evaluation.

    passes: spent until then. held_out: accuracy of the held-out domain's in split. validation: by
    number of images, the mean accuracy over the source domains.
    """

    steps: Sequence[int]
    passes: Sequence[float]
    held_out: Sequence[float]
    validation: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Outcome:
    """How a replayed search came out; `regret` in points, `spent` as a share of all passes."""

    kept: bool
    regret: float
    spent: float


def recorded(run: Run, dataset: DomainDataset) -> Recorded:
    """Trains a run. One whose outputs stop being finite ends there."""
    trainer = Trainer(run, dataset)
    parts = {str(count): validation_parts(dataset, run, count) for count in COUNTS}
    steps: list[int] = []
    passes: list[float] = []
    held_out: list[float] = []
    validation: dict[str, list[float]] = {count: [] for count in parts}
    trainer.learn()
    while not trainer.over:
        trainer.train_one()
        if trainer.step % run.evaluate_every and not trainer.over:
            continue
        steps.append(trainer.step)
        passes.append(trainer.passes)
        (score,) = trainer.scores(lambda part: part.role == "held_out" and part.split == "in")
        held_out.append(score.accuracy)
        for count, own in parts.items():
            scores = evaluate(trainer.model, own, trainer.device)
            validation[count].append(float(np.mean([score.accuracy for score in scores])))
        if not math.isfinite(score.loss):
            break
    return Recorded(steps, passes, held_out, validation)


def validation_parts(dataset: DomainDataset, run: Run, count: int) -> list[Part]:
    """An equal share of `count` digits for each source domain, none of them trained on.

    First those of its own out split, then those of other out splits and of the held-out domain,
    rotated to the domain's angle.
    """
    view = next(part.view for part in Trainer(run, dataset).parts)
    digits, labels = rotated_digits._digits()
    order = np.random.RandomState(0).permutation(len(digits))  # as in rotated_digits.load
    chosen = [order[i :: len(DOMAINS)] for i in range(len(DOMAINS))]
    out = [own[split(len(own), run.seed, i).out] for i, own in enumerate(chosen)]
    held_out = dataset.index(run.held_out)
    sources = [i for i in range(len(DOMAINS)) if i != held_out]
    parts = []
    for index in sources:
        others = [out[i] for i in sources if i != index]
        rest = np.random.RandomState(index).permutation(np.concatenate([*others, chosen[held_out]]))
        own = np.concatenate([out[index], rest])[: count // len(sources)]
        angle = rotated_digits.ANGLES[index]
        images = np.stack([rotated_digits._rotate(digits[i], angle) for i in own])[..., None]
        fresh = Domain(DOMAINS[index], np.ascontiguousarray(images), labels[own])
        parts.append(Part(fresh, "source", "out", np.arange(len(own)), view))
    return parts


def drawn(range_: Range, *key: object) -> Value:
    """A value of the range by a key; unlike in a sweep, each seed has draws of its own."""
    unit = random.Random(repr(key)).random()
    match range_:
        case Interval(low, high, log, whole):
            value = low * (high / low) ** unit if log else low + (high - low) * unit
            return round(value) if whole else value
        case Choice(values):
            return values[int(unit * len(values))]
        case Fixed(value):
            return value


def runs_of(setup: Setup, algorithm: str, held_out: str, seed: int) -> Iterator[Run]:
    """The protocol's runs of a study: its default setting, then random ones."""
    (plan,) = plans(sweep_of(setup, algorithm, held_out, seed, "random/none")).values()
    for number in range(setup.trials):
        values = {
            name: drawn(range_, seed, number, name) for name, range_ in plan.space.items()
        } | ({} if number else dict(plan.begins_with[0]))
        yield plan.trial(number, values).run


def begun(number: int, images: int) -> FrozenTrial:
    """A trial as a pruner sees it."""
    trial = create_trial(state=TrialState.RUNNING, user_attrs={IMAGES: images})
    trial.number = number
    return trial


def replay(
    curves: Sequence[Recorded], count: int, pruner: BasePruner, images: int, slots: int
) -> Outcome:
    """A search over these runs, as many at a time as there are slots.

    count: images of the validation. images: how many the pruner is told of.
    """
    trials = [begun(number, images) for number in range(len(curves))]
    study = cast(optuna.Study, SimpleNamespace(get_trials=lambda deepcopy: trials))
    best = [np.maximum.accumulate(curve.validation[str(count)]) for curve in curves]
    waiting, at_work = [*range(len(curves))], dict[int, int]()
    spent, found = 0.0, -1.0
    while waiting or at_work:
        while waiting and len(at_work) < slots:
            at_work[waiting.pop(0)] = -1
        for number in [*at_work]:
            at_work[number] = at = at_work[number] + 1
            trial, curve = trials[number], curves[number]
            trial.intermediate_values[curve.steps[at]] = float(best[number][at])
            last = at == len(curve.steps) - 1
            if last or pruner.prune(study, trial):
                spent += curve.passes[at]
                trial.state = TrialState.COMPLETE if last else TrialState.PRUNED
                found = max(found, float(best[number][at])) if last else found
                del at_work[number]
    highest = max(float(values[-1]) for values in best)
    whole = sum(curve.passes[-1] for curve in curves)
    return Outcome(found >= highest, 100 * (highest - found), spent / whole)


def margins(steps: int, every: int) -> dict[str, Callable[[int], tuple[BasePruner, int]]]:
    """By name: makes the pruner, and says how many images it is told of."""
    grace = default_grace(steps, every, 3)
    return {
        "none": lambda count: (NoisePruner(steps, grace, 3), 0),
        "2 standard errors": lambda count: (NoisePruner(steps, grace, 3), count),
        "observed gains": lambda count: (RungPruner(steps, grace, 3), 0),
    }


def table(studies: Sequence[Sequence[Recorded]], setup: Setup, slots: int, orders: int) -> str:
    """A line for each margin, and for each number of images three figures."""
    lines = [f"{setup.steps} steps, {len(studies)} studies in {orders} orders, {slots} at a time"]
    for name, make in margins(setup.steps, setup.evaluate_every).items():
        line = f"{name:18}"
        for count in COUNTS:
            pruner, images = make(count)
            outcomes = [
                replay(ordered(curves, order), count, pruner, images, slots)
                for curves in studies
                for order in range(orders)
            ]
            kept, regret, spent = (
                np.array([getattr(one, field) for one in outcomes], dtype=float)
                for field in ("kept", "regret", "spent")
            )
            line += f" | {count:4}: {kept.mean():4.0%} kept, {regret.mean():.2f} behind"
            line += f" (most {regret.max():.1f}), {spent.mean():3.0%} spent"
        lines.append(line)
    return "\n".join(lines)


def ordered(curves: Sequence[Recorded], order: int) -> list[Recorded]:
    """The default setting first, the others as drawn or shuffled."""
    rest = [*curves[1:]]
    if order:
        random.Random(order).shuffle(rest)
    return [curves[0], *rest]


def record(arguments: argparse.Namespace, setup: Setup) -> list[list[Recorded]]:
    """The runs of each study, of which those that the folder lacks are trained."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = arguments.output / f"rungs-{setup.steps}.jsonl"
    known: dict[tuple[Any, ...], Recorded] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        *key, _, columns = json.loads(line)
        known[tuple(key)] = Recorded(**columns)
    dataset, studies = rotated_digits.load(), []
    for study in product(arguments.algorithms, arguments.held_out, arguments.seeds):
        for number, run in enumerate(runs_of(setup, *study)):
            if (*study, number) not in known:
                known[*study, number] = recorded(run, dataset)
                columns = asdict(known[*study, number])
                line = json.dumps([*study, number, dict(run.hyperparameters), columns])
                with file.open("a") as stream:
                    stream.write(line + "\n")
        studies.append([known[*study, number] for number in range(setup.trials)])
    return studies


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--algorithms", nargs="+", default=["SAGM"])
    parser.add_argument("--held-out", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--orders", type=int, default=8)
    parser.add_argument("--slots", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    setup = Setup(steps=arguments.steps, evaluate_every=arguments.steps // 25)
    studies = record(arguments, setup)
    for slots in arguments.slots:
        print(table(studies, setup, slots, arguments.orders), flush=True)


if __name__ == "__main__":
    main()
