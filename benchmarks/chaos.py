"""Kills workers, nodes, drivers and whole clusters during a sweep, and compares its tables.

The sweep runs on a Ray cluster of several nodes on this machine and suggests the same settings in
whatever order its trials end (random sampler, no pruning). A fault strikes each time the sweep has
come some way: a worker process dies; a node with all its processes does, and another takes its
place; the driver does, and the run is resumed; the driver and every node do, and the run is resumed
on another cluster; a worker is asked to go; a node is, and another takes its place. At the end
trials and evaluations must equal, bit for bit, those of a sweep that nobody disturbed, apart from
times and places.

With `--scheduler freeze-thaw`, what a trial does next depends on which of those at work is first,
so one trial works at a time (`--nodes 1`) where all must be equal. With more nodes, what both
sweeps have trained must be equal, and all trials must have ended.

    python -m benchmarks.chaos --kills 20 --seed 0 --output out.json
    python -m benchmarks.chaos --kills 20 --scheduler freeze-thaw --nodes 1 \
        --kinds worker driver cluster "asked worker"
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import ArrowInvalid
from pyarrow import fs as arrow_fs

from benchmarks.local_cluster import Cluster, cluster
from benchmarks.processes import CHECKOUT, command, started, wait_until
from search.run import storage, tables
from search.run.run_folder import EVALUATIONS, TRIALS, RunFolder
from search.run.storage import JOURNAL

KINDS = ("worker", "node", "driver", "cluster", "asked worker", "asked node")
# What differs between two runs of one sweep: when and where.
OF_TIME_AND_PLACE = ("seconds", "started", "finished", "node", "device", "gpu_memory", "gpu_beside")
EVALUATIONS_OF_A_TRIAL = 10
EVALUATION = ["trial", "fold", "step", "weights", "domain", "split"]
PATIENCE = 600.0  # seconds without progress after which the sweep has come to a standstill


def sweep_file(trials: int, steps: int, scheduler: str = "none") -> dict[str, Any]:
    return {
        "name": "chaos",
        "dataset": {"name": "RotatedDigits"},
        "model": {"name": "mlp"},
        "algorithms": ["ERM", "DISAM+SAGM"],
        "held_out": ["0", "75"],
        "seeds": [0],
        "training": {
            "steps": steps,
            "evaluate_every": max(steps // EVALUATIONS_OF_A_TRIAL, 1),
            "checkpoint_seconds": 0,
        },
        "search": {
            "trials": trials,
            "sampler": "random",
            "scheduler": scheduler,
            "max_failures": 1000,
            "space": {"lr": {"log_uniform": [3e-4, 1e-2]}},
        },
    }


@dataclass
class Story:
    """What was done to a sweep, and what was left of it."""

    kills: dict[str, int] = field(default_factory=dict)
    resumes: int = 0
    seconds: float = 0.0
    output: str = ""  # of the driver that came to the end
    errors: str = ""
    differences: dict[str, int] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return not any(self.differences.values())


def undisturbed(file: Path, output: Path, nodes: int = 0) -> None:
    """Launches the sweep on as many CPUs as there are nodes; on all that this process may use."""
    done = command("launch", file, "--output", output)
    own = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, own[:nodes] if nodes else own)
    try:
        subprocess.run(done.arguments, env=done.environment, cwd=CHECKOUT, check=True, timeout=3600)
    finally:
        os.sched_setaffinity(0, own)


def disturbed(
    file: Path,
    run: RunFolder,
    kinds: list[str],
    nodes: int,
    draw: random.Random,
    pauses: tuple[float, float] = (0.2, 2.0),
    witness: Callable[[str], object] = lambda kind: None,
) -> Story:
    """Launches the sweep, and resumes it as often as it is brought down by these faults.

    pauses: the fewest and the most seconds between a sign of progress and the fault that follows.
    witness: called with the kind of each fault once it has struck; of a kind that is not among
    KINDS, it does all there is to do.
    """
    story, began = Story(), time.monotonic()
    arguments: tuple[object, ...] = ("launch", file, "--output", run.uri)
    waiting = list(kinds)
    with ExitStack() as ends:
        place = Path(tempfile.mkdtemp())
        held = _new_cluster(ends, place, nodes)
        while True:
            driver = command(*arguments, "--address", held.address)
            driver.environment |= held.variables
            with started(driver) as process:
                brought_down = False
                while waiting and not brought_down and process.poll() is None:
                    if not _progress(run, process, draw.uniform(*pauses)):
                        break
                    kind = waiting.pop(0)
                    story.kills[kind] = story.kills.get(kind, 0) + 1
                    name = draw.choice([n for n in held.nodes if n != "head"])
                    if kind.endswith("worker"):
                        _end_one(held, draw, asked="asked" in kind)
                    elif kind == "node":
                        held.kill(name)
                        held.start(f"{name}'", 1)
                    elif kind == "asked node":
                        held.ask(name)  # at once: its trial has far to go now
                        held.start(f"{name}'", 1)
                    elif kind in KINDS:
                        process.kill()
                        brought_down = True
                    witness(kind)
                output, errors = process.communicate(timeout=3600)
            if not brought_down:
                break
            if kind == "cluster":
                for name in list(held.nodes):
                    held.kill(name)
                held = _new_cluster(ends, Path(tempfile.mkdtemp()), nodes)
            arguments = ("resume", run.uri)
            story.resumes += 1
    if process.returncode:
        raise RuntimeError(f"the sweep ended with {process.returncode}:\n{output}\n{errors}")
    story.seconds = time.monotonic() - began
    story.output, story.errors = output, errors
    return story


def _new_cluster(ends: ExitStack, place: Path, nodes: int) -> Cluster:
    held = ends.enter_context(cluster(place))
    held.start("head", 0)
    for number in range(nodes):
        held.start(f"node {number}", 1)
    return held


def _end_one(held: Cluster, draw: random.Random, asked: bool) -> None:
    workers = [pid for name in held.nodes for pid in held.workers(name)]
    if workers:
        os.kill(draw.choice(workers), signal.SIGTERM if asked else signal.SIGKILL)


def _progress(run: RunFolder, process: subprocess.Popen[str], seconds: float) -> bool:
    """Waits until a trial has written that has far to go; False if the sweep ended.

    And then `seconds` more.
    """
    before = _written(run)

    def new() -> bool:
        if process.poll() is not None:
            return True
        parts = [name for name, state in _written(run).items() if before.get(name) != state]
        return any(_far_to_go(run, name) for name in parts)

    wait_until(new, PATIENCE, "the sweep goes on")
    time.sleep(seconds)
    return process.poll() is None


def _far_to_go(run: RunFolder, part: str) -> bool:
    """Whether it is of a trial with half of its evaluations to come."""
    if run.exists(f"{TRIALS}/{part}"):
        return False
    path = run.path(f"{EVALUATIONS}/{part}")
    try:
        steps = pd.read_parquet(path, columns=["step"], filesystem=run.filesystem)["step"]
    except (OSError, ArrowInvalid):  # merged with others, or replaced while it is read
        return False
    return steps.nunique() <= EVALUATIONS_OF_A_TRIAL / 2


def _written(run: RunFolder) -> dict[str, tuple[int, int]]:
    """Size and time of each file of the evaluations."""
    place = arrow_fs.FileSelector(run.path(EVALUATIONS), allow_not_found=True)
    files = run.filesystem.get_file_info(place)
    return {file.base_name: (file.size, file.mtime_ns) for file in files if file.is_file}


def compare(run: RunFolder, reference: RunFolder, alike: bool = True) -> dict[str, int]:
    """Counts of everything in which a run is not its undisturbed reference; all must be 0.

    alike: whether their trials had to be trained to the same steps.
    """
    found: dict[str, int] = {}
    for table, key, read in (
        ("trials", ["trial"], tables.read_trials),
        ("evaluations", EVALUATION, tables.read_evaluations),
    ):
        ours, theirs = (
            # As anybody reads them, without Steppe.
            pd.read_parquet(place.path(table), filesystem=place.filesystem).drop(
                columns=list(OF_TIME_AND_PLACE), errors="ignore"
            )
            for place in (run, reference)
        )
        if not alike and table == "trials":
            done = theirs[theirs["state"] == "completed"].merge(
                ours.loc[ours["state"] == "completed", key], on=key
            )
            ours, theirs = ours.merge(done[key], on=key), done
        found[f"{table} lost"] = len(theirs.merge(ours[key], on=key, how="left_anti"))
        found[f"{table} too many"] = len(ours.merge(theirs[key], on=key, how="left_anti"))
        found[f"{table} duplicated"] = int(ours.duplicated(key).sum())
        both = theirs.merge(ours[key], on=key)[key]
        one, other = (
            frame.merge(both, on=key).sort_values(key, ignore_index=True)[sorted(theirs.columns)]
            for frame in (ours.drop_duplicates(key), theirs)
        )
        same = (one == other) | (one.isna() & other.isna())
        found[f"{table} differing"] = int((~same.all(axis=1)).sum())
        found[f"{table} differing as Steppe reads them"] = abs(len(read(run)) - len(theirs))
        if not alike:
            for what in ("lost", "too many", "differing as Steppe reads them"):
                del found[f"{table} {what}"]
    stored = storage.open_for_reading(run)
    told = {
        f"{study.study_name}.{trial.number}": trial
        for study in stored.get_all_studies()
        for trial in stored.get_all_trials(study._study_id)
    }
    rows = tables.read_trials(run).drop_duplicates("trial").set_index("trial")
    found["trials that Optuna lacks or has too many"] = len(told.keys() ^ set(rows.index))
    found["trials left running in Optuna"] = sum(
        not trial.state.is_finished() for trial in told.values()
    )
    found["trials of another value in Optuna"] = sum(
        trial.value != rows["objective"].get(name) for name, trial in told.items()
    )
    # Only a disturbed sweep has something to say in its log.
    found["files too many or too few"] = len((_files(run) ^ _files(reference)) - {"driver.log"})
    found["trials that have not ended"] = int((rows["state"] == "frozen").sum())
    return {what: int(count) for what, count in found.items()}  # numpy's are no JSON


def _files(run: RunFolder) -> set[str]:
    """All that lies in a run; a journal is one thing, in however many blocks a store has it."""
    place = arrow_fs.FileSelector(run.path(), recursive=True)
    found = [info.path for info in run.filesystem.get_file_info(place) if info.is_file]
    names = {path.removeprefix(run.path()).lstrip("/") for path in found}
    return {JOURNAL if name.startswith(JOURNAL) else name for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, and when")
    parser.add_argument("--scheduler", choices=["none", "freeze-thaw"], default="none")
    parser.add_argument("--nodes", type=int, default=2, help="of one CPU each")
    parser.add_argument("--trials", type=int, default=10, help="of each of four studies")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--output", type=Path, help="JSON")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    kinds = [arguments.kinds[n % len(arguments.kinds)] for n in range(arguments.kills)]
    draw.shuffle(kinds)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        file = place / "sweep.yaml"
        sweep = sweep_file(arguments.trials, arguments.steps, arguments.scheduler)
        freezes = arguments.scheduler == "freeze-thaw"
        file.write_text(json.dumps(sweep))  # JSON is YAML
        began = time.monotonic()
        undisturbed(file, place / "reference", arguments.nodes if freezes else 0)
        alone = time.monotonic() - began
        run, reference = RunFolder(place / "run"), RunFolder(place / "reference")
        story = disturbed(file, run, kinds, arguments.nodes, draw)
        story.differences = compare(run, reference, not freezes or arguments.nodes == 1)
    print(f"killed: {dict(story.kills)}, resumed {story.resumes} times")
    print(f"{story.seconds:.0f} s, and {alone:.0f} s undisturbed")
    for what, count in story.differences.items():
        print(f"{count:6d}  {what}")
    if arguments.output:
        arguments.output.write_text(json.dumps(asdict(story) | {"undisturbed": alone}, indent=2))
    sys.exit(0 if story.whole else 1)


if __name__ == "__main__":
    main()
