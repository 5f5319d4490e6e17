"""Runs of every model, tuned in every way: they train, resume and keep frozen what is frozen."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import pytest
import torch

import models
from models import tuning
from models.entry import Colours
from tests.models.tiny_models import NAMES, WITH_ATTENTION
from tests.training.digit_runs import reread, trained, without_seconds
from tests.training.photographs import photographs
from training import flatness
from training.run import Run
from training.train import Checkpoint, Trainer

pytestmark = pytest.mark.usefixtures("shallow_vit")

DATA = photographs()
RUN = Run("Photographs", None, "timm/test_vit", "SAGM", "sketch", 0, 4, 2, augmentation="none")
VALUES = {"lr": 1e-2, "batch_size": 3, "dropout": 0.3}
TWO_STEPS = {"steps": 2, "evaluate_every": 1}

LARGE = ["resnet50", "convnext_tiny", "vit_b_16"]  # trained in full are small ones of their kinds
ATTENTIVE = [*WITH_ATTENTION, "vit_b_16"]
TUNED = [
    (name, how)
    for name in (*models.MODELS, *NAMES)
    for how in tuning.TUNINGS
    if (how != "lora" or name in ATTENTIVE) and (how != "full" or name not in LARGE)
]


def run_of(name: str, how: str, algorithm: str = "SAGM", **fields: object) -> Run:
    values = {**VALUES, "rho": 0.05, "alpha": 0.1} if algorithm == "SAGM" else VALUES
    run = replace(RUN, model=name, tuning=how, algorithm=algorithm, hyperparameters=values)
    return replace(run, **fields)


def resumed(run: Run) -> Checkpoint:
    """The checkpoint of a run's first evaluation, from which it ends as it did without a break."""
    whole, _, saved = trained(run, DATA)
    assert whole.state == "completed"
    checkpoint = reread(saved[0])
    assert checkpoint["step"] == run.evaluate_every < run.steps
    again = trained(run, DATA, resume=checkpoint).result
    assert without_seconds(again) == without_seconds(whole)
    return checkpoint


@pytest.mark.parametrize(("name", "how"), TUNED)
def test_a_step_of_every_model_tuned_in_every_way_moves_what_trains(name: str, how: str) -> None:
    trainer = Trainer(run_of(name, how), DATA)
    before = trainer.weights.flat.clone()
    frozen = [p.clone() for p in trainer.model.parameters() if not p.requires_grad]
    trainer.learn()
    trainer.train_one()

    assert not torch.equal(trainer.weights.flat, before)
    after = [p for p in trainer.model.parameters() if not p.requires_grad]
    assert all(map(torch.equal, frozen, after))


# Batch norm of a ResNet resumes as that of timm's small one does.
@pytest.mark.parametrize(
    ("name", "how"), [case for case in TUNED if case[0] not in (*LARGE, "resnet18")]
)
def test_small_models_tuned_in_every_way_resume(name: str, how: str) -> None:
    resumed(run_of(name, how, **TWO_STEPS))


@pytest.mark.parametrize("how", ["head", "lora"])
@pytest.mark.parametrize(
    "fields",
    [
        {**TWO_STEPS, "averaging": "ema", "micro_batches": 2, "clip_norm": 0.1},
        {"averaging": "swa", "optimizer": "sgd", "precision": "bf16"},
        {"averaging": "swad", "evaluate_every": 1, "channels_last": True, "augmentation": "exact"},
        {**TWO_STEPS, "flatness": "curvature", "flatness_samples": 6},
    ],
)
def test_what_a_run_may_have_goes_with_frozen_parameters(
    how: str, fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = partial(flatness.largest_eigenvalue, iterations=2)
    monkeypatch.setattr(flatness, "largest_eigenvalue", few)
    resumed(run_of("timm/test_vit", how, **fields))


@cache
def plain(how: str) -> Checkpoint:
    return resumed(run_of("open_clip/tiny", how, "ERM", **TWO_STEPS))


OWN = {
    "GGA": {"start": 0, "search_steps": 2, "neighborhood": 0.01},
    "Fishr": {"fishr_anneal": 0},
}
OF_FEATURES = ("GGA", "CORAL", "MMD")  # which a head does not change
OF_ALL = ("ASAM", "GAM", "VaSSO", "GGA-L", "Fishr", "IRM", "Fish")


@pytest.mark.parametrize(
    ("how", "algorithm"),
    [
        *(("head", name) for name in ("GSAM", "DISAM", "Fish")),
        *(("lora", name) for name in (*OF_ALL, *OF_FEATURES)),
    ],
)
def test_algorithms_move_what_trains(how: str, algorithm: str) -> None:
    values = {**VALUES, **OWN.get(algorithm, {})}
    run = run_of("open_clip/tiny", how, algorithm, **TWO_STEPS)

    moved = resumed(replace(run, hyperparameters=values))

    assert not torch.equal(moved["tensors"][0], plain(how)["tensors"][0])


def test_a_frozen_model_costs_its_checkpoint_nothing() -> None:
    sizes = {}
    for how in tuning.TUNINGS:
        trainer = Trainer(run_of("timm/test_vit", how), DATA)
        sizes[how] = len(trainer.weights.flat)
        frozen = sum(p.numel() for p in trainer.model.parameters() if not p.requires_grad)
        total = sum(t.numel() for t in trainer.checkpoint()["tensors"])
        assert total == sizes[how] + sum(b.numel() for b in trainer.model.buffers())
        assert frozen == (0 if how == "full" else sizes["full"] - 64 * 3 - 3)

    assert sizes["head"] == 64 * 3 + 3
    assert sizes["lora"] < sizes["full"] / 10


def test_a_checkpoint_goes_on_with_no_other_frozen_weights(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    for seed in (0, 1):
        torch.manual_seed(seed)
        other = models.build("timm/test_vit", 3, (3, 32, 32))
        torch.save(other.state_dict(), path)
        run = run_of("timm/test_vit", "head", weights=str(path), **TWO_STEPS)
        if seed == 0:
            checkpoint = resumed(run)

    with pytest.raises(ValueError, match="that do not train are no longer those of the checkpoint"):
        trained(run, DATA, resume=checkpoint)


@pytest.mark.parametrize("number", ["lora_rank", "lora_alpha"])
def test_each_number_of_lora_changes_the_result(number: str) -> None:
    run = run_of("timm/test_vit", "lora", steps=2)
    one, other = (
        trained(replace(run, hyperparameters={**run.hyperparameters, number: value}), DATA).result
        for value in (2, 3)
    )

    assert without_seconds(one) != without_seconds(other)


def test_images_have_the_colours_that_the_model_expects() -> None:
    trainer = Trainer(run_of("timm/test_vit", "full"), DATA)
    mean, deviation = 0.5, 0.5
    assert trainer.model.colours == Colours((mean,) * 3, (deviation,) * 3)
    found = trainer.batches(0).x
    pixels = (found * deviation + mean) * 255

    assert torch.allclose(pixels, pixels.round(), atol=1e-3)
    assert found.min() < 0 < found.max()

    imagenet = Trainer(run_of("resnet18", "full"), DATA).batches(0).x
    torch.testing.assert_close(
        imagenet[:, 0] * 0.229 + 0.485, found[:, 0] * deviation + mean, atol=1e-5, rtol=0
    )


def test_an_average_of_heads_leaves_the_batch_norm_of_the_features_alone() -> None:
    trainer = Trainer(run_of("resnet18", "head", averaging="ema"), DATA)
    before = [buffer.clone() for buffer in trainer.model.buffers()]
    trainer.learn()
    trainer.train_one()

    trainer.load_average()

    assert all(map(torch.equal, trainer.model.buffers(), before))


def test_a_number_of_a_tuning_that_the_run_has_not_is_refused() -> None:
    run = run_of("timm/test_vit", "full")
    with pytest.raises(ValueError, match="has no hyperparameter 'lora_rank'"):
        Trainer(replace(run, hyperparameters={"lora_rank": 2}), DATA)
