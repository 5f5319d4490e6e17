"""ERM++ against records of DomainBed's class and of its two stages."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import models
from tests.training.golden_case import flat, read, tensor
from tests.training.test_golden_averages import DIGITS, RUN, close, golden_trainer, values_of
from training.checkpoint import Checkpoint, from_bytes, to_bytes
from training.run import Run
from training.schedules import Plateau
from training.start import Start, begin_from, changed, probe_of
from training.train import train

CASES = read("ermpp")["cases"]


@pytest.fixture(autouse=True)
def normed(monkeypatch):
    def build(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU()), 16

    monkeypatch.setitem(models.MODELS, "normed", models.Entry(build, ""))


def cases(kind: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case["kind"] == kind]
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case["case_id"])


@cases("class")
def test_weights_and_average_are_those_of_domainbeds_class(monkeypatch, case):
    problem = read("ermpp")["problems"][case["problem"]]
    linear, decay = case["linear_steps"] + 1, case["optimizer"]["weight_decay"]
    run = replace(
        RUN, start="linear-probe", start_steps=linear, start_lr=case["linear_lr"],
        bn=case["batchnorm"],
    )  # fmt: skip
    probe = probe_of(run)
    probe = replace(probe, hyperparameters={**probe.hyperparameters, "weight_decay": decay})
    prober = golden_trainer(monkeypatch, problem, **probe.as_dict())
    losses = [prober.train_one() for _ in range(linear)]
    close(prober.weights.flat, flat(case["params"][str(linear)], ("w2", "b2")))
    trainer = golden_trainer(
        monkeypatch,
        problem,
        after=linear,
        averaging="erm++",
        bn=case["batchnorm"],
        hyperparameters={
            "lr": case["optimizer"]["lr"],
            "weight_decay": decay,
            "ermpp_start": case["start"] - linear,
        },
    )
    begin_from(trainer.model, Start(changed(prober.model), 0.0, 0.0))
    names = [*trainer.model.names, *trainer.model.statistics]
    for step in range(linear + 1, 13):
        losses.append(trainer.train_one())
        if str(step) in case["params"]:
            close(values_of(trainer), flat(case["params"][str(step)], names))
            before = [own.clone() for own in trainer.tensors()]
            trainer.load_average()
            close(values_of(trainer), flat(case["average"][str(step)], names))
            trainer.load_tensors(before)
    close(torch.stack(losses), tensor(case["losses"]))
    shown = trainer.model.statistics and case["batchnorm"] == "updated"
    assert trainer.passes == pytest.approx((12 - linear) * (4 / 3 if shown else 1))


@cases("schedule")
def test_the_rate_drops_and_the_run_ends_where_the_record_says(case):
    plateau, rates = Plateau(), []
    for batch_losses in case["batch_losses"]:
        means = [sum(losses) / len(losses) for losses in batch_losses]  # of batches, as there
        plateau.evaluated(sum(means) / len(means))
        rates.append(case["lr"] * plateau.factor)
        if plateau.ended:
            break
    assert rates == pytest.approx(case["lr_after_checkpoint"])
    assert [case["lr"] * factor for factor in plateau.factors] == pytest.approx(case["schedule"])
    stopped = case["stopped_at_checkpoint"]
    assert (len(rates) - 1 if plateau.ended else None) == stopped


def test_a_run_that_ends_on_a_plateau_ends_alike_after_a_resume_and_looks_at_its_average():
    values = {"lr": 1.0, "batch_size": 8, "ermpp_start": 5}
    run = Run("RotatedDigits", None, "normed", "ERM", "30", 0, 60, 2, values)
    run = replace(run, averaging="erm++", lr_schedule="plateau", lr_drop=0.5)
    saved: list[Checkpoint] = []
    whole = train(run, DIGITS, lambda _: None, lambda make: saved.append(make()))
    losses = [saved[-1]["plateau"][key] for key in ("best", "factors")]

    assert whole.state == "completed"
    assert whole.steps == 2 * len(losses[1]) < 60
    assert losses[1][-1] == 0.0
    assert losses[0] != min(e.validation_loss for e in whole.evaluations[:-1])
    middle = from_bytes(to_bytes(saved[len(saved) // 2]))
    again = train(run, DIGITS, lambda _: None, resume=middle)
    assert [e.scores for e in again.evaluations] == [e.scores for e in whole.evaluations]
    assert again.passes == pytest.approx(whole.steps * 4 / 3)
