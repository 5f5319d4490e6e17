"""Runs of one study whose trials were trained in this process, as workers train them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import datasets
import models
from search.run import tables
from search.run.run_folder import RunFolder
from search.study.plan import TrialSpec, plans
from search.sweep.schema import Sweep
from search.worker import trial
from search.worker.trial import Trial
from tests.search.play import said, small_sweep, write_row
from tests.search.report.played_run import begin
from training.evaluation import evaluate, parts_of

DIGITS = datasets.load("RotatedDigits")
VALUES = {"lr": 1e-3 / 3, "weight_decay": 0.0, "dropout": 0.1, "batch_size": 8, "rho": 0.1 / 3}
STUDY = "RotatedDigits.mlp.SAM.0.0"


def sam_sweep(**changes: Any) -> Sweep:
    """SAM for 30 steps, whose best is not the last when lr is large."""
    training = {"steps": 30, "evaluate_every": 10, "optimizer": "sgd"}
    changes["training"] = training | changes.get("training", {})
    return small_sweep(**{"algorithms": ["SAM"], **changes})


def train(sweep: Sweep, folder: RunFolder, *settings: dict[str, Any]) -> list[TrialSpec]:
    """Begins the run and carries out a trial of its first study for each setting."""
    begin(sweep, folder)
    plan = next(iter(plans(sweep).values()))
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial.tune, "report", lambda _: None)
        for number, own in enumerate(settings):
            spec = plan.trial(number, VALUES | own)
            Trial(folder, spec).carry_out()
            found.append(spec)
    return found


def network(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The model of these sweeps, with these weights."""
    model = models.build("mlp", len(DIGITS.classes), DIGITS.image_shape)
    model.load_state_dict(state)
    return model


def scores(model: torch.nn.Module, split: str = "out") -> dict[str, float]:
    """Its accuracy on each domain."""
    parts = [part for part in parts_of(DIGITS, "0", 0) if part.split == split]
    return {s.domain: s.accuracy for s in evaluate(model, parts, torch.device("cpu"))}


def recorded(folder: RunFolder, trial: str, step: int) -> dict[str, float]:
    """The same as the tables have it, of the trial's result."""
    table = tables.read_evaluations(folder)
    own = table[(table["trial"] == trial) & (table["step"] == step) & (table["split"] == "out")]
    own = own[own["weights"] == own["weights"].iloc[-1]]
    return dict(zip(own["domain"], own["accuracy"], strict=True))


def rewrite(folder: RunFolder, trial: str, change: Any) -> None:
    """Puts `change(rows)` in the place of the evaluations of a trial."""
    table = tables.read_evaluations(folder)
    own = table[table["trial"] == trial].astype(object)
    rows = own.where(own.notna(), None).to_dict("records")
    known = {key: rows[0][key] for key in ("sweep", "study", "trial")}
    changed = [{k: v for k, v in row.items() if k not in known} for row in change(rows)]
    tables.write_evaluations(folder, **known, rows=changed)


def stop(folder: RunFolder, spec: TrialSpec, state: str, step: int) -> None:
    """Makes a completed trial one that was stopped after `step`, or never came to a step."""
    rewrite(folder, spec.trial, lambda rows: [
        row for row in rows if row["step"] <= step and row["role"] == "source"
    ])  # fmt: skip
    write_row(folder, spec, said(step, 0.5, state, "the reason"))
