"""Each key of the training acts, or is refused with the reason why it could not."""

import pytest
from torch import nn

import models
from search.space.ranges import Interval
from search.study.study_space import study_space
from search.sweep.per_dataset import by_dataset
from tests.search.play import first_settings
from tests.search.refused import accepted, the_problem

CLIP = {"name": "open_clip/ViT-B-16", "weights": "openai", "head": "text-fixed"}
PLATEAU = {"training.lr_schedule": "plateau"}
RHO_FOLLOWS = {"training.rho_schedule": "lr"}
NORMED = {"model.name": "convolution-and-norm"}


@pytest.mark.parametrize(
    ("key", "value", "others", "reason"),
    [
        ("training.momentum", 0.5, {}, "only sgd"),
        ("training.nesterov", True, {}, "only sgd"),
        ("training.rho_floor", 0.5, {}, "a constant rho does"),
        (
            "training.rho_floor",
            0.1,
            {**RHO_FOLLOWS, "training.lr_schedule": "cosine"},
            "rho follows lr",
        ),
        ("training.rho_schedule", "cosine", {"algorithms": ["ERM"]}, "no listed"),
        ("training.rho_schedule", "lr", {}, "lr, which rho"),
        ("training.rho_warmup", 9, {"algorithms": ["GGA-L"]}, "no listed algorithm"),
        ("training.rho_warmup", 9, {**RHO_FOLLOWS, "training.lr_warmup": 5}, "rho follows lr"),
        ("training.start_steps", 9, {}, "training.start is model"),
        ("training.start_lr", 0.1, {}, "training.start is model"),
        ("training.start", "linear-probe", {"model.tuning": "head"}, "model.tuning is head"),
        ("training.lr_schedule", "plateau", {"training.steps": 600}, "plateau drops lr after"),
        ("training.lr_drop_at", [0.5], PLATEAU, "only step"),
        ("training.lr_drop_at", [0.5], {}, "only step drops"),
        ("training.lr_drop", 0.5, {}, "only step"),
        ("training.lr_floor", 0.1, {}, "only linear and cosine"),
        ("training.lr_floor", 0.1, {"training.lr_schedule": "step"}, "only linear and cosine"),
        ("training.steps", 900, {"algorithms": ["zero-shot"], "model": CLIP}, "nothing"),
        ("training.bn", "frozen", {}, "cnn has no batch norm"),
        ("training.bn_second_pass", "updated", {}, "cnn has no batch norm"),
        (
            "training.bn_second_pass",
            "updated",
            {**NORMED, "algorithms": ["ERM"]},
            "no listed algorithm",
        ),
        (
            "training.bn_second_pass",
            "updated",
            {**NORMED, "training.bn": "frozen"},
            "frozen batch norm is not",
        ),
        ("training.tf32", "all", {}, "only NVIDIA GPUs have TF32"),
        (
            "training.tf32",
            "all",
            {"training.precision": "bf16", "resources.gpu": 1},
            "bf16 leaves it no",
        ),
        ("training.channels_last", True, {"model.name": "mlp"}, "mlp has no convolution"),
        ("training.batch_size", 8, {"search.space.batch_size": 16}, "search.space.batch_size says"),
        ("dataset.root", "/data", {}, "RotatedDigits comes with"),
        ("search.trials", 2, {"algorithms": ["zero-shot"], "model": CLIP}, "nothing"),
        ("search.grace_steps", 9, {"search.scheduler": "none"}, "no scheduler stops trials"),
        ("search.reduction_factor", 4, {"search.scheduler": "median"}, "only asha and hyperband"),
        (
            "search.scheduler",
            "median",
            {"training.evaluate_every": 5000},
            "a trial is first evaluated",
        ),
        (
            "search.share",
            "domains",
            {"dataset.name": "SpawriousM2MEasy", "dataset.root": "x"},
            "one domain is held out",
        ),
    ],
)
def test_a_key_without_effect_is_refused(normed, key, value, others, reason):
    line = the_problem(**{key: value, **others})
    assert line.startswith(f"{key} is ")
    assert f"has no effect: {reason}" in line


def test_nesterov_without_a_momentum_is_refused():
    line = the_problem(training={"optimizer": "sgd", "momentum": 0, "nesterov": True})
    assert line.startswith("training.nesterov is true, but training.momentum is 0")


@pytest.fixture
def normed(monkeypatch):
    """A model with batch norm."""

    def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), 4

    monkeypatch.setitem(models.MODELS, "convolution-and-norm", models.Entry(featurizer, ""))


@pytest.mark.parametrize(
    "training",
    [
        {"lr_schedule": "cosine", "lr_floor": 0.1, "lr_warmup": 100, "rho_schedule": "lr"},
        {"lr_schedule": "step", "lr_drop": 0.5, "lr_drop_at": [0.5, 0.8]},
        {"lr_warmup": 10, "rho_schedule": "lr"},
        {"bn_second_pass": "updated", "channels_last": True, "compile": True},
        {"bn": "frozen", "precision": "bf16", "deterministic": True, "micro_batches": 32},
        {"averaging": "swad", "clip_norm": 1},
        {"optimizer": "sgd", "nesterov": True},
        {"optimizer": "sgd", "momentum": 0.5, "rho_schedule": "linear", "rho_floor": 0.5},
    ],
    ids=str,
)
def test_keys_that_act_together_are_taken(normed, training):
    accepted(**NORMED, training=training)


def test_a_gpus_trials_may_say_where_tf32_is_used():
    accepted(training={"tf32": "none", "device": "cuda"}, resources={"gpu": 0.5})


def test_keys_of_schedulers_are_taken_where_they_act():
    accepted(search={"scheduler": "hyperband", "reduction_factor": 4, "grace_steps": 100})


def test_swad_needs_as_many_evaluations_as_it_looks_at():
    short = {"averaging": "swad", "steps": 350, "evaluate_every": 100}
    for search in ({}, {"space": {"SAM": {"swad_converge": 4}}}):
        assert the_problem(training=short, search=search).startswith(
            "search.space.swad_converge may be 5, but a run of 350 steps has 4 evaluations"
        )
    accepted(training=short, search={"space": {"swad_converge": 4}})


def test_pieces_may_not_outnumber_the_smallest_batch_of_a_domain():
    search = {"space": {"batch_size": {"choice": [8, 16]}}}
    line = the_problem(training={"micro_batches": 9}, search=search)
    assert line.startswith("training.micro_batches is 9, but a batch may have only 8 samples")
    accepted(training={"micro_batches": 8}, search=search)


@pytest.mark.parametrize(
    ("training", "name", "value", "told"),
    [
        ({"averaging": "swad"}, "swad_converge", 0, "is 0; swad_converge must be at"),
        ({"averaging": "swad"}, "swad_tolerance", 2.5, "is 2.5; swad_tolerance is"),
        ({"averaging": "swa"}, "swa_start", 1, "is 1; swa_start must be at most 0.99"),
        ({"averaging": "ema"}, "ema_decay", 1, "is 1; ema_decay must be at most 0.99999"),
        ({"averaging": "ema"}, "swa_start", 0, "is a number of the averaging swa, but "),
        ({"optimizer": "genie"}, "genie_drop", 1, "is 1; genie_drop must be at most 0.99"),
        ({}, "genie_drop", 0.1, "is a number of the optimizer genie"),
    ],
)
def test_a_number_of_an_averaging_or_optimizer_that_does_not_fit_is_told(
    training, name, value, told
):
    line = the_problem(training=training, search={"space": {name: value}})
    assert line.startswith(f"search.space.{name} {told}")


def test_schedules_and_starts_that_cannot_act_are_refused():
    line = the_problem(**PLATEAU, **RHO_FOLLOWS)
    assert line.startswith("training.rho_schedule")
    assert "plateau" in line
    line = the_problem(**{"model.tuning": "head", "algorithms": ["SAM+ERM++"]})
    assert line.startswith("algorithms[0]")
    assert "model.tuning: head" in line


def test_genie_has_a_range_of_lr_and_numbers_of_its_own():
    sweep = accepted(training={"optimizer": "genie"})
    of_genie = study_space(by_dataset(sweep)["RotatedDigits"], "SAM")
    assert of_genie["lr"] == Interval(1e-3, 1e-1, log=True)
    assert {"genie_average", "genie_drop", "rho"} <= of_genie.keys()
    assert first_settings(sweep, "SAM")[0]["lr"] == 0.015
