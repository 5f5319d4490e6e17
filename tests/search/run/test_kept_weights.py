"""With `keep_weights` the models that it names stay in the run, and no other."""

from __future__ import annotations

import pytest
import torch

import datasets
import models
from search.driver.ledger import Ledger
from search.run import manifest, tables
from search.run.checkpoints import (
    WEIGHTS,
    keep_only_weights,
    kept_weights,
    read_weights,
    write_weights,
)
from search.run.run_folder import RunFolder
from search.study.plan import plans
from search.worker import trial
from search.worker.trial import Trial
from tests.search.play import finish, open_ledger, small_sweep
from training.evaluation import evaluate, parts_of

VALUES = {"lr": 1e-3, "weight_decay": 0.0, "dropout": 0.0, "batch_size": 8, "rho": 0.05}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize("averaging", ["none", "ema"])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_they_are_the_model_whose_scores_are_in_the_tables(folder, monkeypatch, keep, averaging):
    monkeypatch.setattr(trial.tune, "report", lambda _: None)
    sweep = small_sweep(
        algorithms=["SAM"],
        # Late steps are bad ones, so that the best is not the last.
        training={"steps": 60, "evaluate_every": 10, "optimizer": "sgd", "averaging": averaging},
        search={"keep_weights": keep},
    )
    manifest.record(folder, [])
    (plan,) = plans(sweep).values()
    values = VALUES | {"lr": 3.0} | ({"ema_decay": 0.5} if averaging == "ema" else {})
    spec = plan.trial(0, values)
    Trial(folder, spec).carry_out()

    row = tables.read_trial(folder, spec.trial)
    digits = datasets.load("RotatedDigits")
    model = models.build("mlp", len(digits.classes), digits.image_shape)
    model.load_state_dict(read_weights(folder, spec.trial))
    parts = [p for p in parts_of(digits, "0", 0) if (p.role, p.split) == ("source", "out")]
    scores = evaluate(model, parts, torch.device("cpu"))
    accuracy = sum(score.accuracy for score in scores) / len(scores)

    evaluations = tables.read_evaluations(folder)
    source = evaluations[(evaluations["role"] == "source") & (evaluations["split"] == "out")]
    last = source[(source["step"] == 60) & (source["weights"] == "iterate")]["accuracy"].mean()
    assert accuracy == pytest.approx(row["objective"] if keep == "best" else last)
    if averaging == "none":
        assert row["best_step"] < 60
        assert row["objective"] != pytest.approx(last)


def kept(folder: RunFolder) -> list[str]:
    return [file.removesuffix(".safetensors") for file in folder.list(WEIGHTS)]


def end(ledger: Ledger, sweep, folder: RunFolder, value: float) -> str:
    spec = ledger.next()
    write_weights(folder, spec.trial, {"w": torch.zeros(1)})
    finish(ledger, folder, spec, value)
    return spec.trial


def test_only_those_of_the_best_trial_so_far_stay_and_of_equals_those_of_the_later_one(folder):
    sweep = small_sweep(search={"trials": 5, "keep_weights": "best"})
    ledger = open_ledger(sweep, folder)
    first = end(ledger, sweep, folder, 0.5)
    assert kept(folder) == [first]
    end(ledger, sweep, folder, 0.4)
    assert kept(folder) == [first]
    equal = end(ledger, sweep, folder, 0.5)
    assert kept(folder) == [equal]
    failed = ledger.next()
    write_weights(folder, failed.trial, {"w": torch.zeros(1)})
    ledger.fail(failed, "its worker process died")
    assert kept(folder) == [equal]
    ledger = open_ledger(sweep, folder)  # a resume knows the leader
    best = end(ledger, sweep, folder, 0.6)
    assert kept(folder) == [best]


def test_what_a_trial_left_that_died_before_its_row_is_put_away(folder):
    sweep = small_sweep(search={"trials": 2, "keep_weights": "best"})
    ledger = open_ledger(sweep, folder)
    best = end(ledger, sweep, folder, 0.5)
    write_weights(folder, ledger.next().trial, {"w": torch.zeros(1)})
    open_ledger(sweep, folder)
    assert kept(folder) == [best]


@pytest.mark.parametrize(("keep", "left"), [("all", [0, 1, 2, 4]), (2, [2, 4]), (3, [1, 2, 4])])
def test_those_of_all_completed_trials_stay_or_of_the_best(folder, keep, left):
    sweep = small_sweep(search={"trials": 6, "keep_weights": keep})
    ledger = open_ledger(sweep, folder)
    names = [end(ledger, sweep, folder, value) for value in (0.4, 0.5, 0.6)]
    failed = ledger.next()
    write_weights(folder, failed.trial, {"w": torch.zeros(1)})
    ledger.fail(failed, "its worker process died")
    ledger = open_ledger(sweep, folder)  # a resume knows what is kept
    names += [failed.trial, end(ledger, sweep, folder, 0.5)]
    assert kept(folder) == [names[number] for number in left]


def test_what_does_not_train_is_stored_once_for_all_trials(folder, monkeypatch):
    monkeypatch.setattr(trial.tune, "report", lambda _: None)
    sweep = small_sweep(
        algorithms=["SAM"],
        model={"name": "mlp", "weights": None, "tuning": "head"},
        training={"steps": 10, "evaluate_every": 10},
        search={"keep_weights": "all"},
    )
    manifest.record(folder, [])
    (plan,) = plans(sweep).values()
    for number in range(3):
        Trial(folder, plan.trial(number, VALUES | {"lr": 0.01 * number})).carry_out()
    names = [plan.trial(number, {}).trial for number in range(3)]
    assert kept_weights(folder) == names
    assert len(kept(folder)) == 4
    states = [read_weights(folder, name) for name in names]
    digits = datasets.load("RotatedDigits")
    for state in states:
        models.build("mlp", len(digits.classes), digits.image_shape).load_state_dict(state)
    same = [name for name in states[0] if torch.equal(states[0][name], states[2][name])]
    assert same == [name for name in states[0] if name.startswith("featurizer")]
    keep_only_weights(folder, names[:1])
    assert read_weights(folder, names[0]).keys() == states[0].keys()
    keep_only_weights(folder, [])
    assert kept(folder) == []
