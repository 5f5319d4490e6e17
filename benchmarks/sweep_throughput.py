"""Trials per hour: one Steppe sweep against a fresh process for each trial of the same work.

A fresh process per trial is what DomainBed's sweep starts. All sides run the same SAGM settings on
RotatedDigits, as many trials at once as there are CPUs, one thread each. Two kinds of processes:

lean   Steppe's own training in a process of its own: the same code, imports and evaluations, so
       that the difference is the sweep's alone
field  as scripts of the field are: torchvision and scikit-learn imported, a step with loops over
       the parameters and torch's default Adam (released_steps.py), and every split of every
       domain evaluated at each checkpoint

Runs alternate A B C A B C; the medians are compared.

    python -m benchmarks.sweep_throughput --trials 32 --steps 300 --rounds 3 --output out.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from training.run import Run  # noqa: E402  (found once the checkout is on the path)


def sweep_file(trials: int, steps: int, model: str) -> dict[str, Any]:
    return {
        "name": "throughput",
        "dataset": {"name": "RotatedDigits"},
        "model": {"name": model},
        "algorithms": ["SAGM"],
        "held_out": ["0"],
        "seeds": [0],
        "training": {"steps": steps, "evaluate_every": max(steps // 5, 1)},
        "search": {
            "trials": trials,
            "sampler": "random",
            "scheduler": "none",
            "space": {"lr": {"log_uniform": [3e-4, 1e-2]}},
        },
    }


def steppe(sweep: dict[str, Any], folder: Path) -> tuple[float, list[dict[str, Any]]]:
    """Wall seconds of the whole command, and the settings and training seconds of its trials."""
    import pandas as pd

    file = folder / "sweep.yaml"
    file.write_text(json.dumps(sweep))  # JSON is YAML
    run = folder / "run"
    began = time.perf_counter()
    command = [sys.executable, "-m", "search", "launch", str(file), "--output", str(run)]
    subprocess.run(command, check=True, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    trials = pd.read_parquet(run / "trials")
    assert (trials["state"] == "completed").all()
    names = [name for name in trials if name.startswith("hp_")]
    settings = trials[names].rename(columns=lambda name: name.removeprefix("hp_"))
    return wall, [
        {"values": values, "seconds": seconds}
        for values, seconds in zip(settings.to_dict("records"), trials["seconds"], strict=True)
    ]


def fresh_processes(
    kind: str, sweep: dict[str, Any], settings: list[dict[str, Any]], at_once: int, folder: Path
) -> float:
    """Wall seconds to run the same settings, each in a Python of its own."""

    def one(number: int) -> None:
        job = folder / f"{number}.json"
        job.write_text(json.dumps({"sweep": sweep, "values": settings[number]["values"]}))
        command = [sys.executable, __file__, "--one", str(job), "--kind", kind]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(len(settings))))
    return time.perf_counter() - began


def one_lean_trial(job: Path) -> None:
    """Import, load, train, evaluate, write: Steppe's training without its sweep."""
    import torch

    import datasets
    from training.train import train

    torch.set_num_threads(1)
    run = run_of(json.loads(job.read_text()))
    lines: list[str] = []
    result = train(run, datasets.load(run.dataset, None), lambda e: lines.append(str(e)))
    job.with_suffix(".jsonl").write_text("\n".join([*lines, str(result)]))


def one_field_trial(job: Path) -> None:
    """The same trial with the habits of the field's scripts."""
    import sklearn.datasets
    import torch
    import torchvision  # noqa: F401  (for its transforms, which digits do without)

    import datasets
    import models
    from benchmarks import released_steps
    from datasets.batches import Batches
    from datasets.randomness import split
    from training.evaluation import Part, evaluate

    torch.set_num_threads(1)
    sklearn.datasets.load_digits()
    run = run_of(json.loads(job.read_text()))
    data = datasets.load(run.dataset, None)
    model = models.build(run.model, len(data.classes), data.image_shape)
    halves = [split(len(domain), run.seed, i) for i, domain in enumerate(data.domains)]
    sources = [
        (domain, half.in_)
        for domain, half in zip(data.domains, halves, strict=True)
        if domain.name != run.held_out
    ]
    parts = [
        Part(domain, "source", "in", indices)
        for domain, half in zip(data.domains, halves, strict=True)
        for indices in (half.in_, half.out)
    ]
    batches = Batches(sources, 32, 0)
    step = released_steps.sagm(model, batches(0), float(run.hyperparameters["lr"]))
    lines = []
    for number in range(1, run.steps + 1):
        batches(number)
        step()
        if number % run.evaluate_every == 0:
            scores = [evaluate(model, [part], torch.device("cpu"), 64) for part in parts]
            lines.append(str(scores))
    job.with_suffix(".jsonl").write_text("\n".join(lines))


def run_of(asked: dict[str, Any]) -> Run:
    sweep = asked["sweep"]
    return Run(
        dataset=sweep["dataset"]["name"],
        root=None,
        model=sweep["model"]["name"],
        algorithm="SAGM",
        held_out="0",
        seed=0,
        steps=sweep["training"]["steps"],
        evaluate_every=sweep["training"]["evaluate_every"],
        hyperparameters=asked["values"],
    )


TRIALS = {"lean": one_lean_trial, "field": one_field_trial}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=TRIALS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        TRIALS[arguments.kind](arguments.one)
        return
    report = [compare(model, arguments) for model in arguments.models]
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2))


def compare(model: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians over the rounds, printed as they are had."""
    at_once = os.cpu_count() or 1
    sweep = sweep_file(arguments.trials, arguments.steps, model)
    walls: dict[str, list[float]] = {"steppe": [], **{kind: [] for kind in TRIALS}}
    overhead, training = [], []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            wall, settings = steppe(sweep, Path(scratch))
            busy = sum(trial["seconds"] for trial in settings)
            training.append(busy / len(settings))
            overhead.append((wall * at_once - busy) / len(settings))
            walls["steppe"].append(wall)
            for kind in TRIALS:
                walls[kind].append(fresh_processes(kind, sweep, settings, at_once, Path(scratch)))
    row: dict[str, Any] = {
        "model": model,
        "trials": arguments.trials,
        "steps": arguments.steps,
        "at_once": at_once,
        "training_seconds_per_trial": statistics.median(training),
        "core_seconds_per_trial_beyond_training": statistics.median(overhead),
    }
    for kind, seconds in walls.items():
        row[f"{kind}_seconds"] = statistics.median(seconds)
        row[f"{kind}_trials_per_hour"] = 3600 * arguments.trials / statistics.median(seconds)
    for kind in TRIALS:
        pairs = zip(walls[kind], walls["steppe"], strict=True)
        row[f"steppe_against_{kind}"] = statistics.median(theirs / ours for theirs, ours in pairs)
    print(json.dumps(row, indent=2), flush=True)
    return row


if __name__ == "__main__":
    main()
