"""The text head, WiSE-FT and CLIPood against records of the authors' codes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import models
from models.text_head import Normalised, TextFeatures, TextHead
from tests.training.digit_runs import DIGITS
from tests.training.golden_case import batches, cases, close, each, flat, read, tensor
from training.combining import interpolated
from training.run import Run
from training.trainer import Trainer

TOWER = ("w1", "b1", "w2")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class TwoTowers(nn.Module):
    """The recorded image tower, and a head of the recorded texts."""

    colours = models.network.IMAGENET

    def __init__(self, problem: dict[str, Any], texts: TextFeatures, fixed: bool) -> None:
        super().__init__()
        tower = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4, bias=False))
        for parameter, name in zip(tower.parameters(), TOWER, strict=True):
            parameter.data = tensor(problem["init"][name])
        self.featurizer = nn.Sequential(tower, Normalised())
        self.classifier = TextHead(4, 3, texts).requires_grad_(not fixed)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.featurizer(x))
        return logits


def problem_of(case: dict[str, Any]) -> dict[str, Any]:
    problem: dict[str, Any] = read("clip")["problems"][case["problem"]]
    return problem


def trainer_of(monkeypatch, case: dict[str, Any], texts: TextFeatures, **fields: Any) -> Trainer:
    problem = problem_of(case)
    monkeypatch.setattr(models, "build", lambda _, head, *__: TwoTowers(problem, texts, head.fixed))
    run = Run("RotatedDigits", None, "mlp", "ERM", "0", 0, 10, 10, optimizer="adamw")
    trainer = Trainer(replace(run, lr_schedule="cosine", **fields), DIGITS)
    recorded = list(batches(problem))
    monkeypatch.setattr(trainer, "batches", lambda step: recorded[step % len(recorded)])
    trainer.learn()
    return trainer


@each(cases("clip", "wise_ft"))
def test_wise_ft_is_the_recorded_one_from_its_texts_to_every_alpha(monkeypatch, case):
    texts, tuning = problem_of(case)["text"], case["fine_tuning"]
    steps = len(case["losses"])
    trainer = trainer_of(
        monkeypatch,
        case,
        TextFeatures.of(tensor(texts["embeddings"]), texts["logit_scale"]),
        head="text",
        steps=steps,
        lr_warmup=tuning["warmup"],
        clip_norm=tuning["clip_norm"],
        hyperparameters={name: tuning[name] for name in ("lr", "weight_decay")},
    )
    model, names = trainer.model, (*TOWER, "head_weight", "head_bias")
    x = next(batches(problem_of(case))).x
    close(trainer.weights.flat, flat(case["zero_shot"], names))
    close(model(x), case["zero_shot_logits"])
    zero_shot = {name: own.clone() for name, own in model.state_dict().items()}

    # Its warm-up begins one step later than Steppe's, and its labels may be smoothed.
    ours, smoothing, warmup = trainer.lr_schedule, tuning["label_smoothing"], tuning["warmup"]
    trainer.lr_schedule = lambda step: (step + 1) / warmup if step < warmup else ours(step)
    if smoothing:
        trainer.update = replace(
            trainer.update,
            objective=lambda o, _: F.cross_entropy(o.logits, o.y, label_smoothing=smoothing),
        )
    close(torch.stack([trainer.train_one() for _ in range(steps)]), case["losses"])

    close(trainer.weights.flat, flat(case["fine_tuned"], names))
    fine_tuned = {name: own.clone() for name, own in model.state_dict().items()}
    for recorded in case["interpolated"]:
        model.load_state_dict(interpolated(zero_shot, fine_tuned, recorded["alpha"]))
        close(trainer.weights.flat, flat(recorded["params"], names))
        close(model(x), recorded["logits"])


@each(cases("clip", "clipood"))
def test_mms_with_bma_is_the_recorded_clipood(monkeypatch, case):
    own, settings = case["hparams"], case["optimizer"]
    first = tensor(problem_of(case)["text"]["embeddings"])[:, :1]
    texts = TextFeatures.of(first, math.log(own["temperature"]))
    close(texts.features, case["text_features"])
    trainer = trainer_of(
        monkeypatch,
        case,
        texts,
        algorithm="MMS",
        head="text-fixed",
        steps=case["steps"],
        averaging="bma",
        hyperparameters={
            **{name: settings[name] for name in ("lr", "weight_decay")},
            "mms_margin": own["margin"],
            "bma_beta": own["beta"],
        },
    )
    losses = []
    for step in range(1, case["steps"] + 1):
        losses.append(trainer.train_one())
        if str(step) in case["params"]:
            close(trainer.weights.flat, flat(case["params"][str(step)], TOWER))
            close(trainer.average.result(), flat(case["average"][str(step)], TOWER))
    close(torch.stack(losses), case["losses"])

    trainer.load_average()
    x = next(batches(problem_of(case))).x
    close(trainer.model(x) / own["temperature"], case["similarities_of_average"])
