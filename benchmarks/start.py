"""What the start of a sweep takes: seconds to the first trial and to the end, CPU by process.

    python -m benchmarks.start [--against CHECKOUT] [--rounds 5] [--trials 4] [--output start.json]

A sweep of small trials on RotatedDigits is launched from this checkout and, in turn with it
(A B A B), from another one. A trial begins when a worker takes it, some hundredths of a second
before its first step. Medians over the rounds. Wall times mean something on an idle machine only;
CPU seconds hardly depend on what else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.processes import CHECKOUT, command, end_all

TICK = os.sysconf("SC_CLK_TCK")
KINDS = {"search launch": "driver", "TrialWorker": "workers", "ray::IDLE": "idle workers"}


def sweep_file(trials: int) -> dict[str, object]:
    return {
        "name": "start",
        "dataset": {"name": "RotatedDigits"},
        "model": {"name": "mlp"},
        "algorithms": ["ERM", "SAGM"],
        "held_out": ["0"],
        "seeds": [0],
        "training": {"steps": 20, "evaluate_every": 10},
        "search": {"trials": trials, "sampler": "random", "scheduler": "none"},
    }


def launched(checkout: Path, trials: int) -> dict[str, float]:
    """Seconds of one launch from a checkout, and CPU seconds of its processes by kind."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_text(json.dumps(sweep_file(trials)))  # JSON is YAML
        run = command("launch", file, "--output", f"{folder}/run")
        began, cpu = time.time(), dict[int, tuple[str, float]]()
        with subprocess.Popen(
            run.arguments, cwd=checkout, env=run.environment, stdout=subprocess.DEVNULL
        ) as process:
            try:
                while process.poll() is None:
                    for pid, line in run.processes().items():
                        cpu[pid] = line, _seconds_of(pid, cpu.get(pid, ("", 0.0))[1])
                    time.sleep(0.2)
            finally:
                end_all(run)
        if process.returncode:
            raise SystemExit(f"the launch from {checkout} ended with {process.returncode}")
        ended, rows = time.time(), pq.read_table(f"{folder}/run/trials").to_pandas()
    found = Counter[str]()
    for line, seconds in cpu.values():
        found[next((kind for word, kind in KINDS.items() if word in line), "Ray")] += seconds
    return {
        "first trial": rows["started"].min().timestamp() - began,
        "first trial ended": rows["finished"].min().timestamp() - began,
        "end": ended - began,
        "CPU": found.total(),
        **{f"CPU, {kind}": seconds for kind, seconds in sorted(found.items())},
    }


def _seconds_of(pid: int, before: float) -> float:
    """CPU seconds of a process so far; as before if it has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return before
    return (int(fields[11]) + int(fields[12])) / TICK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, launched in turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=4, help="of each of two studies")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    checkouts = [CHECKOUT, *([arguments.against] if arguments.against else [])]
    figures: dict[str, list[dict[str, float]]] = {str(checkout): [] for checkout in checkouts}
    for _ in range(arguments.rounds):
        for checkout in checkouts:
            figures[str(checkout)].append(launched(checkout, arguments.trials))
    for checkout, rounds in figures.items():
        print(checkout)
        for name in dict.fromkeys(name for one in rounds for name in one):
            values = [one.get(name, 0.0) for one in rounds]
            print(f"  {name:20} {statistics.median(values):6.2f} s")
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
