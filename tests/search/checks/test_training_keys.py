"""Each key of the training acts, or is refused with the reason why it could not."""

import pytest
from torch import nn

import models
from search.checks.load_sweep import checked
from search.space.ranges import Interval
from search.study.study_space import study_space
from search.sweep.per_dataset import by_dataset
from tests.search.play import first_settings
from tests.search.refused import SWEEP, space, the_problem

CLIP = {"name": "open_clip/ViT-B-16", "weights": "openai", "head": "text-fixed"}


@pytest.mark.parametrize(
    ("algorithms", "changes", "key", "reason"),
    [
        (["SAM"], {"training": {"momentum": 0.5}}, "training.momentum", "only sgd"),
        (["SAM"], {"training": {"nesterov": True}}, "training.nesterov", "only sgd"),
        (["SAM"], {"training": {"rho_floor": 0.5}}, "training.rho_floor", "a constant rho does"),
        (["ERM"], {"training": {"rho_schedule": "cosine"}}, "training.rho_schedule", "no listed"),
        (["SAM"], {"training": {"rho_schedule": "lr"}}, "training.rho_schedule", "lr, which rho"),
        (["GGA-L"], {"training": {"rho_warmup": 9}}, "training.rho_warmup", "no listed algorithm"),
        (
            ["SAM"],
            {"training": {"rho_schedule": "lr", "lr_warmup": 5, "rho_warmup": 9}},
            "training.rho_warmup",
            "rho follows lr",
        ),
        (
            ["SAM"],
            {"training": {"rho_schedule": "lr", "lr_schedule": "cosine", "rho_floor": 0.1}},
            "training.rho_floor",
            "rho follows lr",
        ),
        (["ERM"], {"training": {"start_steps": 9}}, "training.start_steps", "training.start is"),
        (
            ["SAM"],
            {"training": {"lr_schedule": "plateau", "lr_drop_at": [0.5]}},
            "training.lr_drop_at",
            "only step",
        ),
        (
            ["SAM"],
            {"training": {"lr_schedule": "plateau", "steps": 600}},
            "training.lr_schedule",
            "plateau drops lr after the third",
        ),
        (
            ["SAM"],
            {
                "dataset": {"name": "SpawriousM2MEasy", "root": "x"},
                "search": {"share": "domains"},
            },
            "search.share",
            "one domain is held out",
        ),
        (
            ["ERM"],
            {"dataset": {"name": "RotatedDigits", "root": "/data"}},
            "dataset.root",
            "RotatedDigits comes with",
        ),
        (
            ["ERM"],
            {"search": {"scheduler": "median"}, "training": {"evaluate_every": 5000}},
            "search.scheduler",
            "a trial is first evaluated at its end",
        ),
        (["zero-shot"], {"model": CLIP, "training": {"steps": 900}}, "training.steps", "nothing"),
        (["zero-shot"], {"model": CLIP, "search": {"trials": 2}}, "search.trials", "nothing"),
        (["ERM"], {"training": {"start_lr": 0.1}}, "training.start_lr", "training.start is model"),
        (
            ["ERM"],
            {"training": {"start": "linear-probe"}, "model": {"name": "cnn", "tuning": "head"}},
            "training.start",
            "model.tuning is head",
        ),
        (["ERM"], {"training": {"lr_floor": 0.1}}, "training.lr_floor", "only linear and cosine"),
        (
            ["ERM"],
            {"training": {"lr_schedule": "step", "lr_floor": 0.1}},
            "training.lr_floor",
            "only linear and cosine",
        ),
        (["ERM"], {"training": {"lr_drop": 0.5}}, "training.lr_drop", "only step"),
        (["ERM"], {"training": {"lr_drop_at": [0.5]}}, "training.lr_drop_at", "only step drops"),
        (["ERM"], {"training": {"bn": "frozen"}}, "training.bn", "cnn has no batch norm"),
        (
            ["SAM"],
            {"training": {"bn_second_pass": "updated"}},
            "training.bn_second_pass",
            "cnn has no batch norm",
        ),
        (
            ["ERM"],
            {"training": {"bn_second_pass": "updated"}, "model": {"name": "convolution-and-norm"}},
            "training.bn_second_pass",
            "no listed algorithm climbs",
        ),
        (
            ["SAM"],
            {
                "training": {"bn": "frozen", "bn_second_pass": "updated"},
                "model": {"name": "convolution-and-norm"},
            },
            "training.bn_second_pass",
            "frozen batch norm is not updated",
        ),
        (["ERM"], {"training": {"tf32": "all"}}, "training.tf32", "only NVIDIA GPUs have TF32"),
        (
            ["ERM"],
            {"training": {"tf32": "all", "precision": "bf16"}, "resources": {"gpu": 1}},
            "training.tf32",
            "bf16 leaves it no products",
        ),
        (
            ["ERM"],
            {"training": {"channels_last": True}, "model": {"name": "mlp"}},
            "training.channels_last",
            "mlp has no convolution",
        ),
        (
            ["ERM"],
            {"search": {"scheduler": "none", "grace_steps": 9}},
            "search.grace_steps",
            "no scheduler stops trials",
        ),
        (
            ["ERM"],
            {"search": {"scheduler": "median", "reduction_factor": 4}},
            "search.reduction_factor",
            "only asha and hyperband",
        ),
        (
            ["ERM"],
            {"training": {"batch_size": 8}, "search": space(batch_size={"choice": [8, 16]})},
            "training.batch_size",
            "search.space.batch_size says",
        ),
    ],
)
def test_a_key_without_effect_is_refused(normed, algorithms, changes, key, reason):
    line = the_problem(algorithms=algorithms, **changes)
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
    ],
    ids=str,
)
def test_keys_that_act_together_are_taken(normed, training):
    assert checked({**SWEEP, "model": {"name": "convolution-and-norm"}, "training": training}, "x")


def test_a_gpus_trials_may_say_where_tf32_is_used():
    training = {"tf32": "none", "device": "cuda"}
    assert checked({**SWEEP, "training": training, "resources": {"gpu": 0.5}}, "x")


def test_swad_needs_as_many_evaluations_as_it_looks_at():
    training = {"averaging": "swad", "steps": 350, "evaluate_every": 100}
    assert the_problem(training=training).startswith(
        "search.space.swad_converge may be 5, but a run of 350 steps has 4 evaluations, and SWAD"
    )
    line = the_problem(training=training, search=space(SAM={"swad_converge": 4}))
    assert line.startswith("search.space.swad_converge may be 5")
    assert checked({**SWEEP, "training": training, "search": space(swad_converge=4)}, "x")


@pytest.mark.parametrize(
    ("averaging", "entries", "sentence"),
    [
        ("swad", {"swad_converge": 0}, "search.space.swad_converge is 0; swad_converge must be at"),
        ("swad", {"swad_tolerance": 2.5}, "search.space.swad_tolerance is 2.5; swad_tolerance is"),
        ("swa", {"swa_start": 1}, "search.space.swa_start is 1; swa_start must be at most 0.99"),
        ("ema", {"ema_decay": 1}, "search.space.ema_decay is 1; ema_decay must be at most 0.99999"),
        ("ema", {"swa_start": 0}, "search.space.swa_start is a number of the averaging swa, but "),
    ],
)
def test_a_number_of_an_averaging_that_does_not_fit_is_told(averaging, entries, sentence):
    line = the_problem(training={"averaging": averaging}, search=space(**entries))
    assert line.startswith(sentence)


def test_pieces_may_not_outnumber_the_smallest_batch_of_a_domain():
    search = space(batch_size={"choice": [8, 16]})
    line = the_problem(training={"micro_batches": 9}, search=search)
    assert line.startswith("training.micro_batches is 9, but a batch may have only 8 samples")
    assert checked({**SWEEP, "training": {"micro_batches": 8}, "search": search}, "x")


def test_keys_with_effect_are_taken():
    training = {"optimizer": "sgd", "momentum": 0.5, "rho_schedule": "linear", "rho_floor": 0.5}
    search = {"scheduler": "hyperband", "reduction_factor": 4, "grace_steps": 100}
    assert checked({**SWEEP, "training": training, "search": search}, "x")


@pytest.mark.parametrize(
    ("changes", "key", "word"),
    [
        (
            {"training": {"lr_schedule": "plateau", "rho_schedule": "lr"}},
            "training.rho_schedule",
            "plateau",
        ),
        (
            {"model": {"name": "cnn", "tuning": "head"}, "algorithms": ["SAM+ERM++"]},
            "algorithms[0]",
            "model.tuning: head",
        ),
        ({"search": space(genie_drop=0.1)}, "search.space.genie_drop", "training.optimizer"),
        (
            {"training": {"optimizer": "genie"}, "search": space(genie_drop=1)},
            "search.space.genie_drop",
            "0.99",
        ),
    ],
)
def test_schedules_starts_and_optimizers_that_cannot_act_are_refused(changes, key, word):
    line = the_problem(**changes)
    assert line.startswith(key)
    assert word in line


def test_genie_has_a_range_of_lr_and_numbers_of_its_own():
    sweep = checked({**SWEEP, "training": {"optimizer": "genie"}}, "x")
    of_genie = study_space(by_dataset(sweep)["RotatedDigits"], "SAM")
    assert of_genie["lr"] == Interval(1e-3, 1e-1, log=True)
    assert {"genie_average", "genie_drop", "rho"} <= of_genie.keys()
    assert first_settings(sweep, "SAM")[0]["lr"] == 0.015
