"""The start of a study's trials is trained once, kept in the run, and counted where it was."""

from __future__ import annotations

from typing import Any

import pytest

from search.run.run_folder import STARTS, RunFolder
from search.run.shared_runs import read_start
from search.study.plan import StudyPlan, plans
from search.worker import trial
from tests.search.play import small_sweep
from tests.search.worker.trained import VALUES, Killed, trained, without_time
from training import start as start_module
from training.checkpoint import from_bytes, to_bytes
from training.start import linear_probe

TRAINING = {"steps": 4, "evaluate_every": 2, "checkpoint_seconds": 0}
TRAINING |= {"start": "linear-probe", "start_steps": 6}


def planned(algorithm: str, **search: Any) -> StudyPlan:
    mine = small_sweep(
        algorithms=["ERM", "SAGM"],
        training=TRAINING,
        search={"space": {"rho": 0.05, "alpha": 0.01}, **search},
    )
    return next(plan for plan in plans(mine).values() if plan.study.algorithm == algorithm)


@pytest.fixture
def probed(monkeypatch) -> list[str]:
    """The domains that were left out in each linear probe."""
    found: list[str] = []

    def noted(run: Any, *rest: Any) -> Any:
        found.append(" ".join(run.unseen))
        return linear_probe(run, *rest)

    monkeypatch.setattr(trial, "linear_probe", noted)
    return found


def carried_out(folder: RunFolder, algorithm: str, number: int = 0, **search: Any) -> dict:
    own = {"rho": 0.05, "alpha": 0.01} if algorithm == "SAGM" else {}
    return without_time(trained(folder, planned(algorithm, **search).trial(number, VALUES | own)))


def test_trials_and_algorithms_share_one_start_which_the_first_pays_for(folder, probed):
    first = carried_out(folder, "ERM")
    second = carried_out(folder, "ERM", number=1)
    third = carried_out(folder, "SAGM")

    assert probed == ["0"]
    assert len(folder.list(STARTS)) == 1
    assert (first["passes"], second["passes"], third["passes"]) == pytest.approx((6, 4, 8))
    assert first["objective"] == second["objective"]
    assert carried_out(RunFolder(folder.path("other")), "SAGM")["objective"] == third["objective"]


@pytest.mark.parametrize("torn", ["", "cut", "lacking"])
def test_a_trial_killed_in_its_start_goes_on_and_ends_alike(tmp_path, probed, monkeypatch, torn):
    folder, whole = RunFolder(tmp_path / "run"), carried_out(RunFolder(tmp_path / "whole"), "ERM")
    steps: list[int] = []
    real = start_module.Trainer.train_one

    def train_one(self: Any) -> Any:
        steps.append(self.step)
        if len(steps) == 4:
            raise Killed
        return real(self)

    monkeypatch.setattr(start_module.Trainer, "train_one", train_one)
    with pytest.raises(Killed):
        carried_out(folder, "ERM")
    spec = planned("ERM").trial(0, VALUES)
    assert read_start(folder, spec.run) is None
    if torn:
        carried_out(folder, "SAGM")
        file = f"{STARTS}/{folder.list(STARTS)[0]}"
        content = folder.read_bytes(file)
        whole_start = from_bytes(content)
        del whole_start["tensors"]["classifier.bias"]
        folder.write_bytes(file, content[:-9] if torn == "cut" else to_bytes(whole_start))
    steps.clear()
    steps += range(5)

    assert carried_out(folder, "ERM") == whole
    assert steps[5] == 2  # from the checkpoint at step 2
    known = read_start(folder, spec.run)
    assert known is not None
    assert known[0] == spec.trial


def test_each_fold_has_a_start_of_its_own(tmp_path, probed):
    row = carried_out(RunFolder(tmp_path / "run"), "ERM", objective="leave-one-domain-out")

    assert probed == ["0 15", "0 30", "0 45", "0 60", "0 75", "0"]
    assert row["passes"] == pytest.approx(6 * (4 + 2))
