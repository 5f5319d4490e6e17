"""What a trial with averaged weights writes and says, without Ray."""

from __future__ import annotations

from typing import Any

import pytest

from search.results.selection import select
from search.run import tables
from search.study.plan import StudyPlan, device, plans
from tests.search.play import small_sweep
from tests.search.worker.trained import VALUES, trained
from training.run import Run

NUMBERS = {
    "swad": {"swad_converge": 2, "swad_tolerance": 2, "swad_ratio": 0.3},
    "swa": {"swa_start": 0.5, "swa_every": 1},
    "sma": {"sma_start": 30},
    "ema": {"ema_decay": 0.5},
    "bma": {"bma_beta": 0.5},
}


def planned(**training: Any) -> StudyPlan:
    training = {"steps": 60, **training}
    (plan,) = plans(small_sweep(algorithms=["ERM"], held_out=["30"], training=training)).values()
    return plan


@pytest.mark.parametrize("averaging", NUMBERS)
def test_the_average_is_the_trials_result_everywhere(folder, averaging):
    plan, reports = planned(averaging=averaging), []
    row = trained(folder, plan.trial(0, VALUES | NUMBERS[averaging]), reports.append)
    evaluations = tables.read_evaluations(folder)
    average = evaluations[evaluations["weights"] == "average"]
    out = average[(average["role"] == "source") & (average["split"] == "out")]
    held_out = average[(average["role"] == "held_out") & (average["split"] == "in")]
    assert row["state"] == "completed"
    assert row["objective"] == pytest.approx(out["accuracy"].mean())
    assert row["best_step"] == row["steps"] == 60
    assert reports[-1]["value"] == row["objective"]
    assert reports[-1]["state"] == "completed"
    (found,) = select(tables.read_trials(folder), evaluations).itertuples()
    assert found.validation == pytest.approx(row["objective"])
    assert (found.step, found.accuracy) == (60, held_out["accuracy"].item())
    for name in NUMBERS[averaging]:
        assert row[f"hp_{name}"] == NUMBERS[averaging][name]
        assert name in plan.column_types


def test_what_is_said_on_the_way_is_of_the_latest_weights(folder):
    spec, reports = planned(averaging="ema").trial(0, VALUES | NUMBERS["ema"]), []
    trained(folder, spec, reports.append)
    evaluations = tables.read_evaluations(folder)
    iterates = evaluations[evaluations["weights"] == "iterate"]
    assert set(iterates["role"]) == {"source"}
    best = iterates.groupby("step")["accuracy"].mean().cummax()
    assert [report["value"] for report in reports[:-1]] == pytest.approx(best.tolist())
    assert [report["step"] for report in reports] == [10, 20, 30, 40, 50, 60, 60]


def test_every_key_of_the_training_reaches_the_run_or_the_search():
    elsewhere = {"batch_size", "checkpoint_seconds"}  # the space's default; the worker's
    keys = set(type(planned().training).model_fields)
    assert keys - elsewhere <= set(Run.__dataclass_fields__)
    changed: dict[str, Any] = {
        "optimizer": "sgd",
        "momentum": 0.5,
        "lr_schedule": "step",
        "lr_warmup": 3,
        "lr_drop_at": [0.5],
        "lr_drop": 0.5,
        "clip_norm": 1.0,
        "micro_batches": 2,
        "averaging": "ema",
        "precision": "bf16",
        "deterministic": True,
        "compile": True,
        "evaluations": "all",
        "start": "linear-probe",
        "start_steps": 7,
        "start_lr": 0.1,
    }
    run = planned(**changed).trial(0, VALUES).run
    for name, value in changed.items():
        assert getattr(run, name) == (tuple(value) if isinstance(value, list) else value)
    assert (run.steps, run.evaluate_every, run.bn, run.rho_floor) == (60, 10, "updated", 0.0)


@pytest.mark.parametrize(
    ("asked", "gpu", "given"),
    [("auto", 0, "cpu"), ("auto", 0.5, "cuda"), ("cuda", 1, "cuda"), ("mps", 0, "mps")],
)
def test_a_trial_computes_where_its_resources_are(asked, gpu, given):
    mine = small_sweep()
    resources = mine.resources.model_copy(update={"gpu": gpu})
    training = mine.training.model_copy(update={"device": asked})
    mine = mine.model_copy(update={"resources": resources, "training": training})
    assert device(mine) == given
