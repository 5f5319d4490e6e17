"""A sweep in which trials crash, diverge and lose their workers."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
import ray
from ray.exceptions import ActorDiedError, RayTaskError
from ray.tune.execution.tune_controller import TuneController
from typer.testing import Result

from search.driver import experiment, tune_adapter
from search.driver.faults import Fault, error_of, fault_of
from search.driver.study_record import REASON, state_of
from search.driver.tune_adapter import StudyScheduler, StudySearcher
from search.run.checkpoints import TrialCheckpoints
from search.run.run_folder import RunFolder
from search.study.plan import plans
from tests.search import failing
from tests.search.command import launch, printed, wait_until
from tests.search.event_files import objectives
from tests.search.failing import (
    DIES_AFTER_ITS_ROW,
    DIVERGES,
    FINE,
    KILLED_ONCE,
    TOO_BIG,
    begun_at,
)
from tests.search.play import OneSlot, open_ledger, small_sweep, stored, without_ray


def sweep_of(
    trials: int,
    resources: dict[str, float] | None = None,
    track: Sequence[str] = (),
    **search,
):
    """Trials with a good learning rate, and number DIVERGES with one that no run survives."""
    first = [{"lr": 1e30 if n == DIVERGES else (n + 1) * 1e-3} for n in range(1, trials)]
    return small_sweep(
        algorithms=["ERM"],
        training={"steps": 40, "evaluate_every": 10, "checkpoint_seconds": 0},
        resources=resources or {"cpu": 1},
        track=list(track),
        search={
            "trials": trials,
            "max_failures": 1,
            "first_trials": first,
            "space": {"lr": {"log_uniform": [5e-5, 1e30]}, "weight_decay": 0, "dropout": 0},
            **search,
        },
    )


@dataclass
class Ran:
    folder: RunFolder
    done: Result
    held: list[int]  # by Tune, of the trials that had ended, when one more had

    @property
    def trials(self) -> pd.DataFrame:
        return pd.read_parquet(f"{self.folder.uri}/trials").set_index("number")


@pytest.fixture(scope="module")
def ran(two_cpus, tmp_path_factory) -> Ran:
    place = tmp_path_factory.mktemp("failing")
    sweep = sweep_of(5, {"cpu": 1, "memory": 1.0}, track=["tensorboard"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "run_trial", failing.run_trial)
        patch.setattr(tune_adapter, "MOST_ENDED", 0)
        held, ended, forget = [], [], tune_adapter._forget

        def watched(controller, trial):
            forget(controller, trial)
            gc.collect()
            held.append(sum(other() is not None for other in ended))
            ended.append(weakref.ref(trial))

        patch.setattr(tune_adapter, "_forget", watched)
        return Ran(RunFolder(place / "run"), launch(sweep, place), held)


@pytest.mark.slow
def test_a_sweep_with_a_failed_trial_runs_to_its_end_and_exits_1(ran):
    assert ran.done.exit_code == 1, ran.done.stderr
    assert "5 of 5 trials ended" in ran.done.stdout
    assert "1 trial failed; why: pandas.read_parquet('" in ran.done.stdout
    assert "training-domain selection" in ran.done.stdout
    assert ran.trials["state"].to_dict() == {
        FINE: "completed",
        KILLED_ONCE: "completed",
        DIES_AFTER_ITS_ROW: "completed",
        DIVERGES: "diverged",
        TOO_BIG: "failed",
    }
    (trials,) = stored(ran.folder).values()
    assert [state_of(trial) for trial in trials] == ran.trials["state"].sort_index().to_list()
    assert [trial.user_attrs.get(REASON) for trial in trials] == [
        None if pd.isna(reason) else reason for reason in ran.trials["reason"].sort_index()
    ]
    assert not ran.folder.exists("checkpoints")


@pytest.mark.slow
def test_tune_holds_no_trial_that_has_ended(ran):
    assert len(ran.held) > 5
    assert max(ran.held) <= 2  # the last may be named in a message


@pytest.mark.slow
def test_a_killed_trial_goes_on_from_its_checkpoint_and_ends_with_the_same_bits(ran):
    assert begun_at(ran.folder, KILLED_ONCE) == [0, 20]
    assert ran.trials.loc[KILLED_ONCE, "steps"] == 40
    undisturbed = printed("rerun", ran.folder.uri, f"ERM.0.0.{KILLED_ONCE}")
    assert "numbers agree, to the last bit" in undisturbed
    assert begun_at(ran.folder, FINE) == [0]


@pytest.mark.slow
def test_a_worker_that_dies_right_after_its_row_costs_nothing(ran):
    assert begun_at(ran.folder, DIES_AFTER_ITS_ROW) == [0]
    evaluations = pd.read_parquet(f"{ran.folder.uri}/evaluations")
    own = evaluations[evaluations["trial"] == f"RotatedDigits.mlp.ERM.0.0.{DIES_AFTER_ITS_ROW}"]
    assert not own.duplicated(["step", "domain", "split"]).any()
    assert set(own["step"]) == {10, 20, 30, 40}
    assert set(own[own["role"] == "held_out"]["split"]) == {"in", "out"}


@pytest.mark.slow
def test_a_diverged_trial_is_an_outcome_with_its_reason(ran):
    reason = ran.trials.loc[DIVERGES, "reason"]
    assert reason == "the loss stopped being finite between steps 0 and 10"
    assert begun_at(ran.folder, DIVERGES) == [0]


@pytest.mark.slow
def test_a_trial_that_takes_more_memory_than_it_may_is_tried_again_and_says_how_much(ran):
    assert begun_at(ran.folder, TOO_BIG) == [0, 0]  # as often as the sweep says
    assert pd.isna(ran.trials.loc[TOO_BIG, "steps"])
    reason = ran.trials.loc[TOO_BIG, "reason"]
    assert reason.startswith("MemoryError: the trial holds 1.")
    assert "resources.memory allows 1" in reason
    log = (Path(ran.folder.root) / "driver.log").read_text()
    assert "raise MemoryError" in log  # the traceback, for whoever must mend it


@pytest.mark.slow
def test_trackers_hear_of_each_trial_once_however_many_attempts_it_takes(ran):
    place = Path(ran.folder.root) / "tensorboard"
    assert f"Tracked: tensorboard --logdir {place}" in ran.done.stdout
    told = {
        int(trial.suffix.removeprefix(".")): [step for step, _ in objectives(trial)]
        for trial in place.iterdir()
    }
    assert told.keys() == set(range(5))
    for number in (FINE, KILLED_ONCE, DIES_AFTER_ITS_ROW):
        assert told[number] == [10, 20, 30, 40]
    assert "gets no more messages" not in (Path(ran.folder.root) / "driver.log").read_text()


def test_a_sweep_whose_trials_all_diverge_ends_well_and_says_so(tmp_path):
    space = {"lr": {"choice": [1e30, 1e31]}, "weight_decay": 0, "dropout": 0}
    sweep = sweep_of(5, space=space, sampler="grid", first_trials=[])
    with without_ray():
        done = launch(sweep, tmp_path)
    assert done.exit_code == 0, done.stderr
    assert "all 2 trials diverged" in done.stdout


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended_and_named(two_cpus, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "run_trial", failing.hang)
    done = launch(sweep_of(1, max_failures=0, hang_seconds=1), tmp_path)
    assert done.exit_code == 1
    (reason,) = pd.read_parquet(tmp_path / "run" / "trials")["reason"]
    assert reason.startswith("no evaluation within 1 s, as search.hang_seconds allows")


def test_a_run_folder_that_cannot_be_written_stops_the_search_and_loses_nothing(tmp_path):
    sweep = sweep_of(2, max_failures=0)
    folder = RunFolder.create(tmp_path / "run")
    in_the_way = tmp_path / "run" / "trials" / "RotatedDigits.mlp.ERM.0.0.0.parquet"
    in_the_way.mkdir(parents=True)
    with without_ray():
        done = launch(sweep, tmp_path)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: cannot ")
    assert str(in_the_way) in done.stderr
    assert "the same command again" in done.stderr
    in_the_way.rmdir()
    with without_ray():
        assert launch(sweep, tmp_path).exit_code == 0
    assert set(pd.read_parquet(f"{folder.uri}/trials")["state"]) == {"completed"}
    (trials,) = stored(folder).values()
    assert [state_of(trial) for trial in trials] == ["completed"] * 2


# The parts that Ray calls.


def searching(folder: RunFolder, **search: Any) -> StudySearcher:
    ledger = open_ledger(small_sweep(search=search), folder)
    return StudySearcher(ledger, OneSlot(), stop=threading.Event())


def test_the_reason_of_a_failure_is_one_line_without_a_traceback():
    cause = ValueError("domain 'x' has 3 samples:\n\tgive it at least 5")
    task = RayTaskError("train", "Traceback ...\n  File ...\n    raise\n", cause)
    assert fault_of(task).reason == "ValueError: domain 'x' has 3 samples: give it at least 5"
    assert fault_of(ActorDiedError()).reason.startswith("its worker process died (out of memory, ")
    assert fault_of("Failure # 1\nKeyError: 'x'\n\n").reason == "KeyError: 'x'"
    assert fault_of(RuntimeError()).reason == "RuntimeError"
    assert len(fault_of(RuntimeError("x" * 10_000)).reason) == 400


def test_an_error_that_cannot_be_unpickled_is_read_as_text(tmp_path):
    (tmp_path / "pickle").write_bytes(b"garbage")
    (tmp_path / "text").write_text("Failure # 1\nOnlyTheWorkerError: it is so\n")
    trial = SimpleNamespace(pickled_error_file=tmp_path / "pickle", error_file=tmp_path / "text")
    assert fault_of(error_of(trial)).reason == "OnlyTheWorkerError: it is so"
    nothing = SimpleNamespace(pickled_error_file=None, error_file=None)
    assert fault_of(error_of(nothing)).reason == "an unknown error"


def test_a_trial_that_tune_gives_up_without_a_word_does_not_hold_its_place_for_ever(folder):
    """As when a worker cannot be reused: no callback tells of it."""
    searcher = searching(folder)
    scheduler = StudyScheduler(searcher)
    searcher.suggest("a")
    assert searcher.suggest("b") is None  # the only place is taken
    gone = Mock(trial_id="a", status="ERROR", is_finished=lambda: True)
    controller = SimpleNamespace(get_live_trials=lambda: {gone})
    assert scheduler.choose_trial_to_run(controller) is None
    assert searcher.suggest("b")["number"] == 0  # the same trial, handed out again
    ((again,),) = stored(folder).values()
    assert again.state.name == "RUNNING"
    # A living one keeps its place.
    live = Mock(trial_id="b", status="PENDING", is_finished=lambda: False)
    controller = SimpleNamespace(get_live_trials=lambda: {gone, live})
    assert scheduler.choose_trial_to_run(controller) is live
    assert searcher.suggest("c") is None
    # While its worker starts, one that ends its trial is for the next, which has none yet.
    later = Mock(trial_id="c", status="PENDING", is_finished=lambda: False)
    controller = SimpleNamespace(get_live_trials=lambda: {live, later})
    assert scheduler.choose_trial_to_run(controller) is later


def test_a_searcher_that_fails_hands_out_nothing_more_and_asks_to_stop(folder):
    searcher = searching(folder)
    searcher.suggest("a")
    assert searcher.report("unknown", {"step": 10, "value": 0.5}) is False
    assert isinstance(searcher.failure, KeyError)
    assert searcher._stop.is_set()
    assert searcher.suggest("b") == "FINISHED"
    # What is at work stays as it is in the storage, for a resume to adopt.
    searcher.on_trial_complete("a", {"step": 90, "value": 0.5, "state": "completed"})
    ((trial,),) = stored(folder).values()
    assert trial.state.name == "RUNNING"


@pytest.mark.slow
def test_a_worker_that_dies_as_it_is_handed_its_next_trial_costs_no_trial(
    two_cpus, tmp_path, monkeypatch
):
    """Tune does not try a trial again that had not begun, whatever it may fail.

    And it is pruned as ever: alone on Ray, it is worse at the first rung than the one before.
    """
    hand_over, killed = TuneController._schedule_trial_reset, []

    def kill_once(self, trial, config, tag):
        hand_over(self, trial, config, tag)
        if not killed:
            killed.append(trial.config["number"])
            ray.kill(trial.temporary_state.ray_actor)

    monkeypatch.setattr(TuneController, "_schedule_trial_reset", kill_once)
    sweep = sweep_of(2, {"cpu": 2}, first_trials=[{"lr": 1e-4}], scheduler="asha")
    done = launch(sweep, tmp_path)
    assert killed
    assert done.exit_code == 0, (done.stdout, done.stderr)
    (trials,) = stored(RunFolder(tmp_path / "run")).values()
    assert [state_of(trial) for trial in trials] == ["completed", "pruned"]


def test_a_trial_that_is_lost_too_often_is_recorded_as_failed(folder):
    searcher = searching(folder, max_failures=2)
    handed_out = []
    for attempt in "abcd":
        handed_out.append(searcher.suggest(attempt)["number"])
        searcher.faults[attempt] = Fault("its worker process died")
        searcher.on_trial_complete(attempt, error=True)
    assert handed_out == [0, 0, 0, 1]
    ((lost, _),) = stored(folder).values()
    assert (state_of(lost), lost.user_attrs[REASON]) == ("failed", "its worker process died")
    assert not searcher.faults


def test_the_search_is_not_over_while_a_trial_may_come_back(folder):
    searcher = searching(folder, trials=1)
    searcher.suggest("a")
    assert searcher.suggest("b") is None
    searcher.on_trial_complete("a", error=True)
    assert searcher.suggest("b")["number"] == 0
    searcher.on_trial_complete("b", {"step": 90, "value": 0.5, "state": "completed"})
    assert searcher.suggest("c") == "FINISHED"


@pytest.mark.slow
def test_sigterm_lets_running_trials_save(two_cpus, tmp_path):
    """However long ago they last did; test_interruption.py has Ctrl-C."""
    training = {"steps": 10**6, "evaluate_every": 10, "checkpoint_seconds": 3600}
    sweep = small_sweep(training=training, search={"trials": 1})
    folder, own = RunFolder(tmp_path / "run"), os.getpid()

    def terminate() -> None:
        wait_until(lambda: folder.list("evaluations"), 120, "the trial has an evaluation")
        os.kill(own, signal.SIGTERM)

    thread = Thread(target=terminate)
    thread.start()
    done = launch(sweep, tmp_path)
    thread.join()
    assert done.exit_code == 130, (done.stdout, done.stderr)
    assert "once the running trials have saved" in done.stdout
    ((trial,),) = stored(folder).values()
    assert trial.state.name == "RUNNING"
    (plan,) = plans(sweep).values()
    assert TrialCheckpoints(folder, plan.trial(0, {})).read()["evaluations"]


@pytest.mark.slow
def test_resources_that_no_node_has_are_refused_and_can_be_corrected(two_cpus, tmp_path):
    refused = launch(sweep_of(1, {"cpu": 400}), tmp_path)
    assert refused.exit_code == 2
    assert "no node of the cluster has resources.cpu: 400 for a trial" in refused.stderr
    assert "ask for less" in refused.stderr
    # What is left of it does not stand in the way of the corrected file.
    assert not list(tmp_path.glob("run/*"))


def test_who_does_not_save_in_time_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(experiment, "SAVE_SECONDS", 0.0)
    stop, asked = experiment.StopRequest(), []
    stop.lets_save(lambda: asked.append(True), at_work=lambda: True)
    assert not stop.stop_all()
    stop.asked.set()
    assert stop.stop_all()
    assert asked == [True]
