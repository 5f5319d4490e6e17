"""Trackers hear of trials by their own names, once, and can neither slow nor end a sweep."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.air.integrations import wandb
from ray.tune.logger import LoggerCallback

from search.driver import trackers, tracking
from search.driver.trackers import Tracker, metrics
from search.driver.tracking import tracking_callbacks
from search.errors import SteppeError
from search.run import manifest
from search.run.run_folder import RunFolder
from search.study.plan import plans
from search.worker.actor import config_of
from tests.search.event_files import objectives
from tests.search.play import said, small_sweep

VALUES = {"lr": 1e-3, "batch_size": 8}
SECRET = "planted-secret"


@pytest.fixture
def folder(folder):
    manifest.record(folder, [])
    return folder


PLANS = plans(small_sweep())
NAME = "RotatedDigits.mlp.SAGM.0.0"


def named(name: str, folder: RunFolder) -> list[Tracker]:
    return trackers.trackers([name], "played", folder)


def telling(folder: RunFolder, *given: Tracker):
    return tracking_callbacks(PLANS, folder, given)


def reports(callbacks, number: int, *steps: tuple[int, float], end: str | None = None) -> None:
    """An attempt at a trial: it begins, reports, and ends unless `end` is None."""
    (plan,) = PLANS.values()
    trial = SimpleNamespace(config=config_of(plan.trial(number, VALUES)))  # to Tune
    for callback in callbacks:
        callback.on_trial_start(0, [], trial)
        for step, value in steps:
            callback.on_trial_result(0, [], trial, vars(said(step, value)))
        if end == "completed":
            callback.on_trial_result(0, [], trial, vars(said(*steps[-1], "completed")))
            callback.on_trial_complete(0, [], trial)
        if end == "died":
            callback.on_trial_error(0, [], trial)


def two_drivers(folder: RunFolder, *given: Tracker) -> None:
    """Trial 0 ends; trial 1 is at work when the first driver ends, and the second goes on."""
    with telling(folder, *given) as callbacks:
        reports(callbacks, 0, (10, 0.5), (20, 0.6), end="completed")
        reports(callbacks, 1, (10, 0.4))
    with telling(folder, *given) as callbacks:
        reports(callbacks, 1, (10, 0.4), (20, 0.7), end="completed")


class Recorder(LoggerCallback):
    """A logger that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def log_trial_start(self, trial) -> None:
        self.told.append(("start", str(trial)))

    def log_trial_result(self, iteration, trial, result) -> None:
        self.told.append((result["training_iteration"], result["objective"]))

    def log_trial_end(self, trial, failed=False) -> None:
        self.told.append(("failed" if failed else "end", str(trial)))


def tracker(logger: object) -> Tracker:
    return Tracker("mine", lambda: logger, "", lambda trial: Path(trial))


def test_a_trial_whose_attempts_die_is_one_trial_and_says_nothing_twice(folder):
    mine = Recorder()
    with telling(folder, tracker(mine)) as callbacks:
        reports(callbacks, 0, (10, 0.5), (20, 0.6), end="died")
        reports(callbacks, 0, (10, 0.5), (20, 0.6), (30, 0.6), end="completed")
        reports(callbacks, 1, (10, 0.4))  # still at work when the sweep is stopped
    assert mine.told == [
        ("start", f"{NAME}.0"), (10, 0.5), (20, 0.6), (30, 0.6), ("end", f"{NAME}.0"),
        ("start", f"{NAME}.1"), (10, 0.4), ("failed", f"{NAME}.1"),
    ]  # fmt: skip


def test_what_is_told_is_known_without_the_held_out_domain():
    assert set(metrics(said(10, 0.5))) == {
        "training_iteration", "objective", "best_step", "seconds", "passes",
    }  # fmt: skip
    assert metrics(replace(said(10, 0.5), second=0.4))["objective_2"] == 0.4


@pytest.mark.parametrize("where", ["logger", "setup", "log_trial_start", "log_trial_result"])
def test_a_tracker_that_fails_is_told_no_more_and_the_log_says_so_once(folder, caplog, where):
    def fail(*_, **__):
        raise SystemExit("no login")

    bad, good = Recorder(), Recorder()
    setattr(bad, where, fail)
    broken = Tracker("bad", fail if where == "logger" else lambda: bad, "", Path)
    with (
        caplog.at_level(logging.WARNING, "steppe"),
        telling(folder, broken, tracker(good)) as callbacks,
    ):
        for number in range(3):
            reports(callbacks, number, (10, 0.5), (20, 0.6), end="completed")
    assert len(good.told) == 12
    (record,) = caplog.records
    assert "bad gets no more messages; the sweep continues" in record.getMessage()
    assert "no login" in record.getMessage()


def test_a_tracker_that_hangs_is_not_waited_for(folder, caplog, monkeypatch):
    monkeypatch.setattr(tracking, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(tracking, "MAX_WAITING", 3)
    slow, released = Recorder(), threading.Event()
    slow.setup = lambda *_, **__: released.wait()  # type: ignore[method-assign]
    with telling(folder, tracker(slow)) as callbacks:
        reports(callbacks, 0, (10, 0.5), (20, 0.6), end="completed")
    assert slow.told == []
    assert "3 messages wait for it" in caplog.text
    monkeypatch.setattr(tracking, "MAX_WAITING", 100)
    with telling(folder, tracker(slow)) as callbacks:
        reports(callbacks, 0, (10, 0.5))
    assert "did not take all messages within 0.05 s" in caplog.text
    released.set()


def test_tensorboard_has_a_folder_for_each_trial_and_a_resume_doubles_nothing(folder):
    (own,) = named("tensorboard", folder)
    two_drivers(folder, own)
    place = Path(folder.root) / "tensorboard"
    assert {trial.name: objectives(trial) for trial in place.iterdir()} == {
        f"{NAME}.0": [(10, 0.5), (20, 0.6)],
        f"{NAME}.1": [(10, 0.4), (20, 0.7)],
    }
    assert own.sentence == f"tensorboard --logdir {place}"


def test_mlflow_has_a_run_for_each_trial_and_a_resume_goes_on_with_it(folder, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    two_drivers(folder, *named("mlflow", folder))
    client = mlflow.tracking.MlflowClient(f"sqlite:///{folder.root}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "played"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == [f"{NAME}.0", f"{NAME}.1"]
    run = runs[f"{NAME}.1"]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.001", "batch_size": "8"}
    assert (run.data.tags["algorithm"], run.data.tags["held_out"]) == ("SAGM", "0")
    history = client.get_metric_history(run.info.run_id, "objective")
    assert [(m.step, m.value) for m in history] == [(10, 0.4), (20, 0.7)]


def test_mlflow_is_at_the_users_address_whose_password_is_not_shown(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://me:{SECRET}@example.org")
    (found,) = named("mlflow", folder)
    assert found.sentence == "mlflow, at MLFLOW_TRACKING_URI"


def test_wandb_is_told_project_group_and_a_name_that_lasts(folder, monkeypatch):
    made = []

    class Wandb(Recorder):
        def __init__(self, **options) -> None:
            super().__init__()
            made.append(options)

        def log_trial_start(self, trial) -> None:
            made.append((trial.trial_id, trial.config))

    monkeypatch.setattr(wandb, "WandbLoggerCallback", Wandb)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    other = RunFolder(folder.path("other"))
    written = folder.read_bytes("manifest.json").replace(b'"host": "', b'"host": "x')
    other.write_bytes("manifest.json", written)
    for run in (folder, folder, other):  # a resume, and another run of the same name
        with telling(run, *named("wandb", run)) as callbacks:
            reports(callbacks, 0, (10, 0.5))
    options, (first, config), _, (second, _), _, (third, _) = made
    assert options["project"] == "steppe"
    assert options["group"] == "played"
    assert (options["mode"], options["resume"], options["dir"]) == ("offline", "allow", folder.root)
    assert first == second != third
    assert config["lr"] == 1e-3
    assert config["algorithm"] == "SAGM"
    assert SECRET not in str(made)


def test_of_a_run_in_a_store_the_trackers_files_lie_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (found,) = named("tensorboard", RunFolder("gs://bucket/runs/x"))
    assert found.trial_place("t") == tmp_path / "runs" / "played" / "tensorboard" / "t"


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(SteppeError, match=r"^track: wandb needs .*pip install '.\[wandb\]'$"):
        trackers.require(("wandb",))
    trackers.require(())
