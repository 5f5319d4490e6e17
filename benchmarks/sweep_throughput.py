"""Trials per hour: one Steppe sweep against a fresh process for each trial of the same work.

A fresh process per trial is what DomainBed's sweep starts. Both sides run the same SAGM settings
on RotatedDigits, with as many trials at once as there are CPUs and one thread each, and evaluate
and record the same. Runs alternate A B A B; the medians are compared.

    python benchmarks/sweep_throughput.py --trials 32 --steps 300 --rounds 2 --output out.json
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
    sweep: dict[str, Any], settings: list[dict[str, Any]], at_once: int, folder: Path
) -> float:
    """Wall seconds to run the same settings, each in a Python of its own."""

    def one(number: int) -> None:
        job = folder / f"{number}.json"
        job.write_text(json.dumps({"sweep": sweep, "values": settings[number]["values"]}))
        command = [sys.executable, __file__, "--one", str(job)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, range(len(settings))))
    return time.perf_counter() - began


def one_trial(job: Path) -> None:
    """A trial as a script of its own would run it: import, load, train, evaluate, write JSON."""
    import torch

    import datasets
    from training.run import Run
    from training.train import train

    torch.set_num_threads(1)
    asked = json.loads(job.read_text())
    sweep = asked["sweep"]
    run = Run(
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
    lines: list[str] = []
    result = train(run, datasets.load(run.dataset, None), lambda e: lines.append(str(e)))
    job.with_suffix(".jsonl").write_text("\n".join([*lines, str(result)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one_trial(arguments.one)
        return
    at_once = os.cpu_count() or 1
    report = []
    for model in arguments.models:
        sweep = sweep_file(arguments.trials, arguments.steps, model)
        ours, theirs, overhead, training = [], [], [], []
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as scratch:
                wall, settings = steppe(sweep, Path(scratch))
                busy = sum(trial["seconds"] for trial in settings)
                ours.append(wall)
                training.append(busy / len(settings))
                overhead.append((wall * at_once - busy) / len(settings))
                theirs.append(fresh_processes(sweep, settings, at_once, Path(scratch)))
        row = {
            "model": model,
            "trials": arguments.trials,
            "steps": arguments.steps,
            "at_once": at_once,
            "steppe_seconds": statistics.median(ours),
            "fresh_process_seconds": statistics.median(theirs),
            "steppe_trials_per_hour": 3600 * arguments.trials / statistics.median(ours),
            "fresh_process_trials_per_hour": 3600 * arguments.trials / statistics.median(theirs),
            "ratio": statistics.median(t / o for t, o in zip(theirs, ours, strict=True)),
            "training_seconds_per_trial": statistics.median(training),
            "core_seconds_per_trial_beyond_training": statistics.median(overhead),
        }
        report.append(row)
        print(json.dumps(row, indent=2), flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
