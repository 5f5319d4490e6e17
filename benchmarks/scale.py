"""What the search layer costs per trial, from the first thousand to the last.

The whole of it is at work: Ray Tune, the samplers and pruners of all studies, the journal, the
tables and their compaction, the lease. Only the training is left out: a trial reports and writes
made-up numbers. The driver's seconds and memory are read while it runs; then the run is opened as a
resume, `status` and `results` do.

    python -m benchmarks.scale --trials 10000 --studies 500 --output out.json
    python -m benchmarks.scale --search '{"terminator": "stagnation"}'
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from search.driver.ray_environment import prepare_environment

prepare_environment()  # before Ray is imported

from ray import tune  # noqa: E402

from datasets.randomness import seed_hash  # noqa: E402
from search import results  # noqa: E402
from search.checks.load_sweep import checked  # noqa: E402
from search.driver import experiment  # noqa: E402
from search.driver.launch import launch  # noqa: E402
from search.driver.ledger import Ledger  # noqa: E402
from search.run import storage, tables  # noqa: E402
from search.run.run_folder import EVALUATIONS, TRIALS, RunFolder  # noqa: E402
from search.study.plan import StudyPlan, plans  # noqa: E402
from search.sweep.schema import Sweep  # noqa: E402
from search.worker.actor import spec_of  # noqa: E402
from search.worker.limits import own_memory  # noqa: E402
from search.worker.trial_rows import Progress, evaluation_rows, trial_row  # noqa: E402
from training.evaluation import Evaluation, Score  # noqa: E402

DOMAINS = ("0", "15", "30", "45", "60", "75")
ALGORITHMS = ["ERM", "SAM", "SAGM", "DISAM", "GSAM"]
STEPS, EVERY = 90, 30


def sweep_of(
    trials: int, studies: int, sampler: str, scheduler: str, search: dict[str, Any]
) -> Sweep:
    """About so many studies of RotatedDigits, with about so many trials in all."""
    seeds = max(round(studies / len(DOMAINS) / len(ALGORITHMS)), 1)
    data = {
        "name": "scale",
        "dataset": {"name": "RotatedDigits"},
        "model": {"name": "mlp"},
        "algorithms": ALGORITHMS,
        "seeds": list(range(seeds)),
        "training": {"steps": STEPS, "evaluate_every": EVERY},
        "search": {
            "trials": max(round(trials / (seeds * len(DOMAINS) * len(ALGORITHMS))), 1),
            "sampler": sampler,
            "scheduler": scheduler,
            **search,
        },
    }
    return checked(data, "scale.yaml")


def pretend(config: dict[str, Any], plans: Mapping[str, StudyPlan], folder: RunFolder) -> None:
    """Does all that a trial does but train."""
    spec = spec_of(config, plans)
    study, began = spec.study, time.time()
    quality = seed_hash(*sorted(spec.values.items())) / 2**31
    found: list[Evaluation] = []
    progress = Progress(0, None, None, 0.0, began, "here", "cpu")
    for step in range(EVERY, STEPS + 1, EVERY):
        scores = tuple(
            Score(domain, "source", "out", quality * step / STEPS, 1.0, 60)
            for domain in DOMAINS
            if domain != study.held_out
        )
        found.append(Evaluation(step, scores, 0.0))
        rows = evaluation_rows(found)
        tables.write_evaluations(folder, spec.plan.sweep, study.id, spec.trial, rows)
        progress = Progress(step, quality * step / STEPS, step, 0.0, began, "here", "cpu")
        tune.report(asdict(progress))
    held_out = [Score(study.held_out, "held_out", split, 0.5, 1.0, 60) for split in ("in", "out")]
    found[-1] = Evaluation(STEPS, (*found[-1].scores, *held_out), 0.0)
    rows = evaluation_rows(found)
    tables.write_evaluations(folder, spec.plan.sweep, study.id, spec.trial, rows)
    row = trial_row(spec, progress, "completed", None)
    tables.write_trial(folder, row, spec.plan.column_types)
    tune.report(asdict(progress) | {"state": "completed"})


@contextmanager
def watching(path: Path) -> Iterator[None]:
    """Writes (time, CPU seconds, bytes of memory) of this process, the driver, every second.

    A line each, at once: a benchmark that is killed has left what it saw.
    """
    over = threading.Event()

    def look() -> None:
        with path.open("a", buffering=1) as lines:
            while not over.wait(1.0):
                used = resource.getrusage(resource.RUSAGE_SELF)
                sample = (time.time(), used.ru_utime + used.ru_stime, own_memory())
                lines.write(json.dumps(sample) + "\n")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--scheduler", default="asha")
    parser.add_argument(
        "--search", type=json.loads, default={}, help="more of a sweep file's `search`, as JSON"
    )
    parser.add_argument("--windows", type=int, default=10, help="parts of the run compared")
    parser.add_argument("--run", type=Path, help="where the run is kept, or goes on")
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    sweep = sweep_of(
        arguments.trials,
        arguments.studies,
        arguments.sampler,
        arguments.scheduler,
        arguments.search,
    )
    with tempfile.TemporaryDirectory() as scratch:
        run = arguments.run or Path(scratch, "run")
        watched = run.with_suffix(".samples")
        report = measure(sweep, RunFolder.create(run), watched, arguments.windows)
    print(json.dumps(report, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=2))


def measure(sweep: Sweep, folder: RunFolder, watched: Path, windows: int) -> dict[str, Any]:
    experiment.run_trial = pretend  # type: ignore[attr-defined]
    with watching(watched):
        wall = seconds(lambda: launch(sweep, folder))
    samples = [json.loads(line) for line in watched.read_text().splitlines()]
    trials = tables.read_trials(folder)
    ends = sorted(trials["finished"].map(lambda end: end.timestamp()))
    report: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "studies": trials["study"].nunique(),
        "trials": len(trials),
        "states": trials["state"].value_counts().to_dict(),
        "wall_seconds": wall,
        "windows": [],
    }
    size = len(ends) // windows
    for first in range(0, size * windows, size):
        begin, end = ends[first], ends[min(first + size, len(ends) - 1)]
        inside = [sample for sample in samples if begin <= sample[0] <= end] or samples[-2:]
        report["windows"].append(
            {
                "trials": f"{first} to {first + size}",
                "wall_seconds_per_trial": (end - begin) / size,
                "driver_cpu_seconds_per_trial": (inside[-1][1] - inside[0][1]) / size,
                "driver_megabytes": inside[-1][2] / 1e6,
            }
        )
    report["files"] = {name: len(folder.list(name)) for name in (TRIALS, EVALUATIONS)}
    report["megabytes"] = {name: folder.size(name) / 1e6 for name in (TRIALS, EVALUATIONS)} | {
        "all": folder.size() / 1e6
    }
    report["seconds"] = {
        "open as a resume does": seconds(
            lambda: Ledger(plans(sweep), folder, storage.open_for_writing(folder))
        ),
        "read the tables": seconds(
            lambda: (tables.read_trials(folder), tables.read_evaluations(folder))
        ),
        "select": seconds(lambda: results.load(folder.uri).selection),
    }
    return report


if __name__ == "__main__":
    main()
