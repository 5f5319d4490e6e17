"""ERM++ against records of DomainBed's class and of its two stages."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.training.digit_runs import DIGITS, reread, trained
from tests.training.golden_case import cases, close, each, flat, read, tensor
from tests.training.test_golden_averages import golden_probe, golden_trainer, values_of
from training.averaging.placing import in_place
from training.run import Run
from training.schedules import Plateau
from training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("normed")


@each(cases("ermpp", "class"))
def test_weights_and_average_are_those_of_domainbeds_class(monkeypatch, case):
    problem = read("ermpp")["problems"][case["problem"]]
    linear, decay = case["linear_steps"] + 1, case["optimizer"]["weight_decay"]
    probe = linear, case["linear_lr"], decay, case["batchnorm"]
    prober, losses = golden_probe(monkeypatch, problem, *probe)
    close(prober.weights.flat, flat(case["params"][str(linear)], ("w2", "b2")))
    trainer = golden_trainer(
        monkeypatch,
        problem,
        after=prober,
        averaging="erm++",
        bn=case["batchnorm"],
        hyperparameters={
            "lr": case["optimizer"]["lr"],
            "weight_decay": decay,
            "ermpp_start": case["start"] - linear,
        },
    )
    names = [*trainer.model.names, *trainer.model.statistics]
    for step in range(linear + 1, 13):
        losses.append(trainer.train_one())
        if str(step) in case["params"]:
            close(values_of(trainer), flat(case["params"][str(step)], names))
            before = [own.clone() for own in trainer.tensors()]
            trainer.load_average()
            close(values_of(trainer), flat(case["average"][str(step)], names))
            trainer.load_tensors(before)
    close(torch.stack(losses), case["losses"])
    shown = trainer.model.statistics and case["batchnorm"] == "updated"
    assert trainer.passes == pytest.approx((12 - linear) * (4 / 3 if shown else 1))


@each(cases("ermpp", "schedule"))
def test_the_rate_drops_and_the_run_ends_where_the_record_says(case):
    plateau, rates = Plateau(), []
    for batch_losses in case["batch_losses"]:
        means = [sum(losses) / len(losses) for losses in batch_losses]  # of batches, as there
        plateau.evaluated(sum(means) / len(means))
        rates.append(case["lr"] * plateau.factor)
        if plateau.ended:
            break
    close(rates, case["lr_after_checkpoint"])
    close([case["lr"] * factor for factor in plateau.factors], case["schedule"])
    stopped = case["stopped_at_checkpoint"]
    assert (len(rates) - 1 if plateau.ended else None) == stopped


def test_a_run_that_ends_on_a_plateau_ends_alike_after_a_resume_and_looks_at_its_average():
    values = {"lr": 1.0, "batch_size": 8, "ermpp_start": 5}
    run = Run("RotatedDigits", None, "normed", "ERM", "30", 0, 60, 2, values)
    run = replace(run, averaging="erm++", lr_schedule="plateau", lr_drop=0.5)
    whole, _, saved = trained(run)
    losses = [saved[-1]["plateau"][key] for key in ("best", "factors")]

    assert whole.state == "completed"
    assert whole.steps == 2 * len(losses[1]) < 60
    assert losses[1][-1] == 0.0
    assert losses[0] != min(e.validation_loss for e in whole.evaluations[:-1])
    again = trained(run, resume=reread(saved[len(saved) // 2])).result
    assert [e.scores for e in again.evaluations] == [e.scores for e in whole.evaluations]
    assert again.passes == pytest.approx(whole.steps * 4 / 3)


@each(cases("ermpp", "two_stages"))
def test_two_stages_are_those_of_train_autolr(monkeypatch, case):
    x = [tensor(values) for values in case["data"]["x"]]
    y = [torch.tensor(values) for values in case["data"]["y"]]
    sources = [domain for domain in range(len(x)) if domain != case["held_out"]]
    out = [sorted(case["out_split"][str(domain)]) for domain in range(len(x))]
    every_image = [[*range(len(y[d]))] if d in sources else [] for d in range(len(x))]
    kept = [[i for i in every_image[d] if i not in out[d]] for d in range(len(x))]
    linear, every = case["linear_steps"] + 1, case["checkpoint_freq"]
    settings = case["optimizer"]

    def loss(model, images, labels):
        return F.cross_entropy(model.classifier(model.featurizer(images)), labels)

    def stage(images, plateau, steps):
        problem = {name: case[name] for name in ("model", "init", "data")}
        problem["batches"] = [images] * steps
        prober, _ = golden_probe(monkeypatch, problem, linear, case["linear_lr"])
        values = {"lr": settings["lr"], "ermpp_start": case["start"] - linear}
        trainer = golden_trainer(
            monkeypatch, problem, prober, averaging="erm++", hyperparameters=values
        )
        trainer.plateau, losses = plateau, []
        for number in range(linear, steps):
            trainer.train_one()
            if number % every and number != case["steps"] - 1:
                continue
            with in_place(trainer.average, trainer.model, trainer.weights, trainer.statistics):
                seen = [loss(trainer.model, x[d][out[d]], y[d][out[d]]) for d in sources]
            losses.append(float(torch.stack(seen).detach().mean()))
            if not plateau.replayed or len(plateau.factors) < len(plateau.replayed):
                plateau.evaluated(losses[-1])
            if plateau.ended:
                break
        final = trainer.weights.flat.clone(), trainer.average.result()
        return linear + trainer.step, losses, final

    first, second = Plateau(), case["second_stage"]
    for number, record in enumerate((case["first_stage"], second)):
        plateau = Plateau(replayed=first.factors) if number else first
        images = every_image if number else kept
        steps, losses, (weights, average) = stage(images, plateau, record["steps"])
        assert steps == record["steps"]
        close(weights, flat(record["params"]))
        close(average, flat(record["average"]))
        if not number:
            close(losses, record["validation_losses"])
            close([settings["lr"] * factor for factor in plateau.factors], record["schedule"])
    if first.ended:  # at a checkpoint, the last but one
        left = (len(first.factors) - 1) * every
        assert second["steps"] == left + (case["first_stage"]["steps"] - len(first.factors) * every)


@pytest.mark.parametrize("averaging", ["none", "erm++"])
def test_a_second_stage_has_all_images_and_the_validation_of_the_first(averaging):
    own = {} if averaging == "none" else {"ermpp_start": 2}
    values = {"lr": 1e-2, "batch_size": 8, **own}
    run = Run("RotatedDigits", None, "normed", "ERM", "30", 0, 8, 2, values)
    run = replace(run, averaging=averaging, retrain="all-images")
    run = replace(run, start="linear-probe", start_steps=3, start_lr=1e-2, lr_schedule="plateau")
    result, _, saved = trained(run, keep="best")
    plain = trained(replace(run, retrain="none")).result
    last = result.evaluations[-1]

    assert [e.scores for e in result.evaluations[:-1]] == [e.scores for e in plain.evaluations]
    assert (last.weights, last.step) == ("retrained", result.best_step)
    assert last.validation == result.validation == plain.validation
    held_out = [score.accuracy for score in last.scores if score.role == "held_out"]
    assert len(held_out) == 2
    assert result.passes > plain.passes + result.best_step
    second = Trainer(replace(run, images="all", retrain="none"), DIGITS)
    first = Trainer(run, DIGITS)
    assert not torch.equal(second.batches(0).x, first.batches(0).x)
    middle = next(c for c in saved if "second" in c and c["second"]["step"] == 2)
    again = trained(run, resume=reread(middle), keep="best").result
    assert [e.scores for e in again.evaluations] == [e.scores for e in result.evaluations]
    assert all(torch.equal(again.weights[name], own) for name, own in result.weights.items())


def test_a_second_stage_that_diverges_is_named_and_paid_for(monkeypatch):
    whole = Trainer.train_one

    def broken(trainer):
        return whole(trainer) * (float("nan") if trainer.run.images == "all" else 1.0)

    monkeypatch.setattr(Trainer, "train_one", broken)
    run = Run("RotatedDigits", None, "mlp", "ERM", "30", 0, 1, 1, {"batch_size": 8})
    result = trained(replace(run, retrain="all-images")).result

    assert (result.state, result.best_step, result.passes) == ("diverged", None, 2.0)
    assert "second stage" in result.reason
