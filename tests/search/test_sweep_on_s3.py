"""A sweep whose run folder is in an object store that goes away, and whose driver is killed.

Nothing but the store's URI and the usual environment is known to the one that resumes it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import pytest
import torch
from pyarrow import fs as arrow_fs

from search.driver.tune_searcher import progress_of
from search.run import lease
from search.run.run_folder import MANIFEST, RunFolder
from search.run.tables import read_evaluations, read_trials
from search.study.trial_attributes import state_of
from search.worker import trial
from tests.search.command import command, started, steppe, wait_until, write_yaml
from tests.search.play import open_ledger, small_sweep, stored
from tests.search.store import KEY, SECRET, Line, bucket_on, serving

pytestmark = pytest.mark.slow

TRIALS = 8
SWEEP: dict[str, Any] = {
    "name": "remote",
    "algorithms": ["ERM", "SAGM"],
    "training": {"steps": 600, "evaluate_every": 60, "checkpoint_seconds": 0},
    "search": {"trials": 4, "space": {"lr": {"log_uniform": [3e-4, 1e-2]}, "weight_decay": 0}},
}
MEASURED = ["trial", "step", "weights", "domain", "role", "split", "accuracy", "loss", "count"]


@dataclass
class Story:
    folder: RunFolder
    while_running: Any
    while_away: Any
    refused: int
    killed: Any
    code: int
    output: str
    errors: str
    status: Any


def ended(folder: RunFolder) -> int:
    """Trials that have ended as the store knows it."""
    time.sleep(0.3)  # the server and the workers share the processors
    trials = [trial for study in stored(folder).values() for trial in study]
    return sum(trial.state.is_finished() for trial in trials)


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[Line, str]]:
    with serving() as (host, port):
        line = Line(host, port)
        with bucket_on(line.host, line.port) as bucket:
            yield line, bucket
        line.close()


@pytest.fixture(scope="module")
def story(store, tmp_path_factory) -> Story:
    line, bucket = store
    file = tmp_path_factory.mktemp("remote") / "sweep.yaml"
    write_yaml(file, small_sweep(**SWEEP).model_dump(mode="json"))
    folder = RunFolder(f"{bucket}/runs/remote")
    launch = command("launch", file, "--output", folder.uri)
    with started(launch) as driver:
        wait_until(lambda: ended(folder) > 1, 90, "trials end")
        while_running = steppe("status", folder.uri)
        line.break_off()
        while_away = steppe("status", folder.uri)  # Arrow itself tries for 6 s
        time.sleep(2)
        known = line.refused
        line.mend()
        before = ended(folder)
        wait_until(lambda: ended(folder) > before, 90, "trials go on")
        driver.kill()
        driver.wait()
        killed = steppe("status", folder.uri)
    with started(command("resume", folder.uri)) as driver:
        output, errors = driver.communicate(timeout=90)
    status = steppe("status", folder.uri)
    told = (while_running, while_away, known, killed)
    return Story(folder, *told, driver.returncode, output, errors, status)


def test_the_status_of_a_sweep_is_seen_from_anywhere(story):
    said = " ".join(story.while_running.stdout.split())
    assert f"of {TRIALS} trials ended, in {story.folder.uri}" in said
    assert "driven by process" in said
    assert " 0 of " not in said


def test_a_store_that_does_not_answer_is_named_to_one_who_asks(story):
    assert story.while_away.exit_code == 2
    refusal = f"error: cannot read the run {story.folder.uri}: "
    assert story.while_away.stderr.startswith(refusal)
    assert "NETWORK_CONNECTION" in story.while_away.stderr
    assert story.while_away.stderr.count("\n") == 1


def test_an_outage_costs_no_attempt(story):
    assert story.refused > 0
    assert set(read_trials(story.folder)["state"]) == {"completed"}


def test_after_kill_9_anybody_sees_what_is_left(story):
    said = " ".join(story.killed.stdout.split())
    assert "is gone; nobody is at work on it" in said
    assert f"`python -m search resume {story.folder.uri}` would continue " in said


def test_a_resume_that_knows_the_uri_alone_finishes_the_sweep(story):
    assert (story.code, story.errors) == (0, "")
    assert f"{TRIALS} of {TRIALS} trials ended, 0 running" in story.output
    assert "RotatedDigits, mlp, training-domain selection" in story.output
    assert story.status.stdout.rstrip().endswith("complete")
    assert not story.folder.exists(lease.LEASE)
    assert story.folder.list("checkpoints") == []
    printed = steppe("results", story.folder.uri, "--format", "csv")
    assert printed.exit_code == 0
    assert "SAGM" in printed.stdout


def test_every_trial_is_there_exactly_once(story):
    found = stored(story.folder)
    states = Counter(state_of(trial) for trials in found.values() for trial in trials)
    assert states == {"completed": TRIALS}
    names = sorted(f"{study}.{trial.number}" for study in found for trial in found[study])
    assert sorted(read_trials(story.folder)["trial"]) == names


def test_its_trials_equal_those_of_an_undisturbed_sweep_bit_for_bit(
    story, tmp_path, monkeypatch, request
):
    """Carried out in this process, one after the other, by no cluster and on a disk."""
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    alone, undisturbed = small_sweep(**{**SWEEP, "algorithms": ["SAGM"]}), RunFolder(tmp_path)
    undisturbed.write_bytes(MANIFEST, story.folder.read_bytes(MANIFEST))
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(trial.tune, "report", said.append)
    ledger = open_ledger(alone, undisturbed)
    while (spec := ledger.next()) is not None:
        trial.run_trial(trial.config_of(spec), alone, undisturbed)
        ledger.finish(spec, progress_of(said[-1]))
    here = read_evaluations(undisturbed)[MEASURED].astype({"trial": str})
    there = read_evaluations(story.folder)[MEASURED].astype({"trial": str})
    there = there[there["trial"].isin(set(here["trial"]))].reset_index(drop=True)
    assert len(here) > 4 * 10 * 5
    pd.testing.assert_frame_equal(here, there, check_exact=True, check_categorical=False)
    same = ["trial", "state", "steps", "best_step", "objective", "hp_lr", "hp_rho", "hp_alpha"]
    trials = read_trials(story.folder)
    trials = trials[trials["algorithm"] == "SAGM"].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_trials(undisturbed)[same], trials[same], check_exact=True)


def test_nothing_in_the_run_repeats_what_opened_the_store(story):
    selector = arrow_fs.FileSelector(story.folder.root, recursive=True)
    files = [info for info in story.folder.filesystem.get_file_info(selector) if info.is_file]
    names = {info.base_name for info in files}
    assert names > {"sweep.yaml", "manifest.json", "00000000.jsonl"}
    for info in files:
        with story.folder.filesystem.open_input_stream(info.path) as stream:
            content = stream.read()
        assert KEY.encode() not in content, info.path
        assert SECRET.encode() not in content, info.path
