"""There is always a whole checkpoint of a trial that has ever written one."""

from __future__ import annotations

import pytest

from search.run.checkpoints import TrialCheckpoints, delete_checkpoints
from search.run.run_folder import CHECKPOINTS, RunFolder
from search.study.plan import plans
from tests.search.play import small_sweep

TRIAL = next(iter(plans(small_sweep()).values())).trial(3, {})
A, B = (f"{CHECKPOINTS}/{TRIAL.trial}.{place}.pt" for place in "ab")


def written(folder: RunFolder, *steps: int) -> None:
    checkpoints = TrialCheckpoints(folder, TRIAL)
    for step in steps:
        checkpoints.write({"step": step})


def test_the_newest_is_read_and_the_one_before_it_is_still_there(folder):
    written(folder, 10, 20, 30)
    assert TrialCheckpoints(folder, TRIAL).read() == {"step": 30}
    assert folder.list(CHECKPOINTS) == [f"{TRIAL.trial}.a.pt", f"{TRIAL.trial}.b.pt"]
    folder.delete(A)
    assert TrialCheckpoints(folder, TRIAL).read() == {"step": 20}


@pytest.mark.parametrize("steps", [(10, 20), (10, 20, 30)])
def test_a_torn_one_is_named_and_the_older_one_used(folder, steps):
    written(folder, *steps)
    torn, older = (B, A) if len(steps) == 2 else (A, B)
    folder.write_bytes(torn, folder.read_bytes(torn)[:-1])
    checkpoints = TrialCheckpoints(folder, TRIAL)
    assert checkpoints.read() == {"step": steps[-2]}
    first, last = checkpoints.notes
    assert first.startswith(f"{torn}: the checkpoint of ")
    assert last == f"the trial continues from step {steps[-2]} of {older}"


def test_what_is_written_next_takes_the_place_of_the_torn_one(folder):
    written(folder, 10, 20)
    folder.write_bytes(B, b"torn")
    resumed = TrialCheckpoints(folder, TRIAL)
    resumed.read()
    resumed.write({"step": 15})
    assert TrialCheckpoints(folder, TRIAL).read() == {"step": 15}
    folder.delete(B)
    assert TrialCheckpoints(folder, TRIAL).read() == {"step": 10}


def test_with_none_that_is_whole_the_trial_goes_on_anew_and_says_so(folder):
    assert TrialCheckpoints(folder, TRIAL).read() is None
    assert TrialCheckpoints(folder, TRIAL).notes == []
    folder.write_bytes(A, b"torn")
    checkpoints = TrialCheckpoints(folder, TRIAL)
    assert checkpoints.read() is None
    assert checkpoints.notes[-1] == "the trial starts over"


def test_a_trial_that_ends_leaves_none(folder):
    written(folder, 10, 20)
    delete_checkpoints(folder, TRIAL)
    assert folder.list(CHECKPOINTS) == []


def test_the_newest_checkpoint_is_that_of_the_latest_run_whatever_its_step(folder):
    checkpoints = TrialCheckpoints(folder, TRIAL)
    checkpoints.write({"run": 0, "step": 400})
    checkpoints.write({"run": 1, "step": 100})
    assert TrialCheckpoints(folder, TRIAL).read() == {"run": 1, "step": 100}
