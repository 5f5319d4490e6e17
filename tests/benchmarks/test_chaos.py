"""A sweep that loses all that it stands on ends as if nothing had been.

It runs on a cluster of Ray whose nodes come and go, its run lies in an object store that goes away
for a while, and its driver is killed. Whoever resumes it knows nothing but the store's URI.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as arrow_fs

from benchmarks.chaos import Story, compare, disturbed, sweep_file
from benchmarks.processes import wait_until
from search.errors import SteppeError
from search.run import lease
from search.run.run_folder import RunFolder
from tests.search.command import steppe, write_yaml
from tests.search.play import without_ray
from tests.search.store import KEY, SECRET, Line, bucket_on, serving
from training.checkpoint import from_bytes

pytestmark = pytest.mark.slow

PATIENCE = 300.0  # seconds; a busy machine takes its time
TRIALS, STEPS = 2, 600  # of each of two studies: enough to do until all has happened
STORE = "the store goes away"
# The benchmark has more: test_interruption.py asks a worker to leave and goes on with another Ray,
# and in test_failures.py workers die.
FAULTS = ["asked node", "node", STORE, "driver"]


@dataclass
class Seen:
    """What was to be seen while the sweep was disturbed."""

    run: RunFolder
    reference: RunFolder
    statuses: dict[str, Any] = field(default_factory=dict)
    saved: set[int] = field(default_factory=set)  # steps of checkpoints
    refused: int = 0  # connections, while the store was away
    story: Story = field(default_factory=Story)


def checkpoints(run: RunFolder) -> set[int]:
    """The step of each."""
    try:
        return {
            from_bytes(run.read_bytes(f"checkpoints/{name}"))["step"]
            for name in run.list("checkpoints")
        }
    except FileNotFoundError:  # its trial has ended
        return set()


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[Line, str]]:
    with serving() as (host, port):
        line = Line(host, port)
        with bucket_on(line.host, line.port) as bucket:
            yield line, bucket
        line.close()


@pytest.fixture(scope="module")
def seen(store: tuple[Line, str], tmp_path_factory: pytest.TempPathFactory) -> Seen:
    line, bucket = store
    place = tmp_path_factory.mktemp("chaos")
    sweep = sweep_file(TRIALS, STEPS) | {"held_out": ["75"]}
    # No checkpoints but those that a worker makes when its node is asked to go.
    sweep["training"]["checkpoint_seconds"] = 10_000
    file = write_yaml(place / "sweep.yaml", sweep)
    seen = Seen(RunFolder(f"{bucket}/runs/chaos"), RunFolder(place / "reference"))
    with without_ray():
        alone = steppe("launch", file, "--output", seen.reference.uri)
    assert alone.exit_code == 0, alone.stderr

    def witness(kind: str) -> None:
        if kind == "asked node":
            seen.saved = wait_until(lambda: checkpoints(seen.run), PATIENCE, "its trial is saved")
        elif kind == "driver":
            seen.statuses[kind] = steppe("status", seen.run.uri)
        elif kind == STORE:
            seen.statuses["running"] = steppe("status", seen.run.uri)
            line.break_off()
            known = line.refused
            seen.statuses[kind] = steppe("status", seen.run.uri)
            mine = line.refused - known
            wait_until(lambda: line.refused > known + mine, PATIENCE, "the sweep misses its store")
            seen.refused = line.refused
            line.mend()

    seen.story = disturbed(
        file, seen.run, FAULTS, nodes=1, draw=random.Random(0), pauses=(0, 0), witness=witness
    )
    return seen


def test_its_tables_are_those_of_an_undisturbed_sweep_bit_for_bit(seen: Seen) -> None:
    assert seen.story.kills == dict.fromkeys(FAULTS, 1)
    assert seen.story.resumes == 1
    differences = compare(seen.run, seen.reference)
    assert json.loads(json.dumps(differences)) == dict.fromkeys(differences, 0)


def test_the_comparison_would_have_seen_a_difference(seen: Seen) -> None:
    (path,) = Path(seen.reference.path("trials")).glob("*SAGM.75.0.parquet")
    rows = pq.read_table(path)
    try:
        pq.write_table(rows.take([0] * TRIALS), path)
        with pytest.raises(SteppeError, match="twice"):
            compare(seen.reference, seen.run)
        pq.write_table(rows.take([0]), path)
        assert compare(seen.reference, seen.run)["trials lost"] == TRIALS - 1
        steps = pa.array([7] * len(rows))
        pq.write_table(rows.set_column(rows.schema.get_field_index("steps"), "steps", steps), path)
        spoiled = compare(seen.reference, seen.run)
        assert (spoiled["trials lost"], spoiled["trials differing"]) == (0, TRIALS)
    finally:
        pq.write_table(rows, path)


def test_a_trial_on_a_node_that_is_asked_to_go_saves_at_the_step_where_it_stands(
    seen: Seen,
) -> None:
    (step,) = seen.saved
    assert 0 < step < STEPS


def test_the_checkout_travels_without_data_and_runs(seen: Seen) -> None:
    """Workers run what the driver sent them, from a folder of Ray's."""
    assert b"_ray_pkg_" in seen.run.read_bytes("driver.log")


def test_a_store_that_does_not_answer_is_named_to_one_who_asks(seen: Seen) -> None:
    away = seen.statuses[STORE]
    assert away.exit_code == 2
    assert away.stderr.startswith(f"error: cannot read the run {seen.run.uri}: ")
    assert "NETWORK_CONNECTION" in away.stderr
    assert away.stderr.count("\n") == 1
    assert seen.refused > 0


def test_a_status_is_seen_from_anywhere(seen: Seen) -> None:
    running, killed = (
        " ".join(seen.statuses[kind].stdout.split()) for kind in ("running", "driver")
    )
    assert f"of {2 * TRIALS} trials ended, in {seen.run.uri}" in running
    assert "driven by process" in running
    assert "is gone; nobody is at work on it" in killed
    assert f"resume {seen.run.uri}` would continue " in killed


def test_a_resume_that_knows_the_uri_alone_finishes_the_sweep(seen: Seen) -> None:
    assert seen.story.errors == ""
    said = seen.story.output
    assert f"{2 * TRIALS} of {2 * TRIALS} trials ended, 0 running" in said
    assert "Joined the Ray cluster at " in said
    assert "training-domain selection" in said
    assert steppe("status", seen.run.uri).stdout.rstrip().endswith("complete")
    assert not seen.run.exists(lease.LEASE)
    assert seen.run.list("checkpoints") == []
    printed = steppe("results", seen.run.uri, "--format", "csv")
    assert printed.exit_code == 0
    assert "SAGM" in printed.stdout


def test_nothing_in_the_run_repeats_what_opened_the_store(seen: Seen) -> None:
    selector = arrow_fs.FileSelector(seen.run.root, recursive=True)
    files = [info for info in seen.run.filesystem.get_file_info(selector) if info.is_file]
    assert {info.base_name for info in files} > {"sweep.yaml", "manifest.json", "00000000.jsonl"}
    for info in files:
        with seen.run.filesystem.open_input_stream(info.path) as stream:
            content = stream.read()
        assert KEY.encode() not in content, info.path
        assert SECRET.encode() not in content, info.path
