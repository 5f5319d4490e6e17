"""Linear probing and averages along a run against records of the codes of DiWA and EoA."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import models
from tests.training.digit_runs import DIGITS
from tests.training.golden_case import (
    GoldenNetwork,
    batches,
    cases,
    close,
    each,
    flat,
    read,
    tensor,
)
from training.averaging import BMA, SMA
from training.run import Run
from training.start import Start, begin_from, changed, probe_of
from training.trainer import Trainer

RUN = Run("RotatedDigits", None, "mlp", "ERM", "0", 0, 10, 10)
MOVING = cases("lp_ft_and_sma", "moving_average") + cases("averages")


def golden_trainer(
    monkeypatch: pytest.MonkeyPatch,
    problem: dict[str, Any],
    after: Trainer | None = None,
    **fields: Any,
) -> Trainer:
    """A trainer of ERM on a recorded network, which gets the recorded batches.

    after: the linear probe that it starts from, at the batch that comes next.
    """
    monkeypatch.setattr(models, "build", lambda *_: GoldenNetwork(problem))
    monkeypatch.setattr(GoldenNetwork, "colours", models.network.IMAGENET, raising=False)
    trainer = Trainer(replace(RUN, **fields), DIGITS)
    recorded, first = list(batches(problem)), 0
    if after is not None:
        first = after.step
        begin_from(trainer.model, Start(changed(after.model), 0.0, 0.0))
    monkeypatch.setattr(trainer, "batches", lambda step: recorded[first + step])
    trainer.learn()
    return trainer


def golden_probe(
    monkeypatch: pytest.MonkeyPatch,
    problem: dict[str, Any],
    steps: int,
    lr: float,
    weight_decay: float = 0.0,
    bn: str = "updated",
) -> tuple[Trainer, list[Tensor]]:
    """A linear probe at its end, and the loss of each step."""
    run = replace(RUN, start="linear-probe", start_steps=steps, start_lr=lr, bn=bn)
    probe = probe_of(run).as_dict()
    probe["hyperparameters"] |= {"weight_decay": weight_decay}
    prober = golden_trainer(monkeypatch, problem, **probe)
    return prober, [prober.train_one() for _ in range(steps)]


def values_of(trainer: Trainer) -> Tensor:
    """Weights and running statistics, as one vector."""
    own = [b for b in trainer.model.buffers() if b.is_floating_point()]
    return torch.cat([trainer.weights.flat, *[tensor.reshape(-1) for tensor in own]])


@each(cases("lp_ft_and_sma", "lp_ft"))
def test_linear_probing_and_fine_tuning_pass_through_the_recorded_weights(monkeypatch, case):
    problem = read("lp_ft_and_sma")["problems"][case["problem"]]
    then = case["fine_tuning"]
    prober, losses = golden_probe(monkeypatch, problem, **case["linear_probing"])
    assert prober.over

    values = {name: then[name] for name in ("lr", "weight_decay")}
    tuned = golden_trainer(monkeypatch, problem, after=prober, hyperparameters=values)

    names = [*tuned.model.names, *tuned.model.statistics]
    close(values_of(tuned), flat(case["params_after_linear_probing"], names))
    for step in range(1, then["steps"] + 1):
        losses.append(tuned.train_one())
        if str(step) in case["params"]:
            close(values_of(tuned), flat(case["params"][str(step)], names))
    close(torch.stack(losses), case["losses"])


@each(MOVING)
def test_the_average_after_every_recorded_update_is_the_recorded_one(monkeypatch, case):
    file = "averages" if "averaging" in case else "lp_ft_and_sma"
    name = case.get("averaging", "SMA").lower()
    own = case.get("hparams") or {"start": case["start"]}
    settings = case["optimizer"]
    trainer = golden_trainer(
        monkeypatch,
        read(file)["problems"][case["problem"]],
        averaging=name,
        bn=case.get("batchnorm", "updated"),
        hyperparameters={
            "lr": settings["lr"],
            "weight_decay": settings["weight_decay"],
            **{f"{name}_{key}": value for key, value in own.items()},
        },
    )
    names = [*trainer.model.names, *trainer.model.statistics]
    for step in range(1, 11):
        trainer.train_one()
        if str(step) not in case["params"]:
            continue
        recorded = case["params"][str(step)]
        latest = recorded.get("latest", recorded)
        averaged = recorded["averaged"] if "averaged" in recorded else case["average"][str(step)]
        close(values_of(trainer), flat(latest, names))
        before = [tensor.clone() for tensor in trainer.tensors()]
        if trainer.average.statistics is not None or not trainer.model.statistics:
            trainer.load_average()
            close(values_of(trainer), flat(averaged, names))
        else:  # frozen: nothing but the weights is averaged
            assert case["batchnorm"] == "frozen"
            close(trainer.average.result(), flat(averaged, trainer.model.names))
        trainer.load_tensors(before)


def test_sma_of_many_updates_is_the_recorded_one():
    (case,) = cases("lp_ft_and_sma", "moving_average_scalar")
    average = SMA(case["start"])
    for step, weights in enumerate([[0.0, 0.0], *case["iterates"]]):
        average.add(tensor(weights), step, 106)
        if str(step) in case["average"]:
            close(average.result(), case["average"][str(step)])


def test_bma_weighs_its_members_as_recorded():
    case = next(case for case in MOVING if case.get("averaging") == "BMA")
    recorded = tensor(case["weights"])
    average, members = BMA(case["hparams"]["beta"]), torch.eye(11, dtype=torch.float64)
    for step in range(11):
        average.add(members[step], step, 10)

    close(average.result(), recorded / recorded.sum())
