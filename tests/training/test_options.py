"""Every option of a run acts, and no option acts where it is not asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import models
from tests.training.digit_runs import DIGITS, quiet, reread, trained
from training import computation
from training.run import Run
from training.train import Trainer, train

VALUES = {"lr": 1e-2, "batch_size": 8, "dropout": 0.2, "weight_decay": 1e-3, "rho": 0.2}
RUN = Run("RotatedDigits", None, "convolutions", "SAM", "30", 0, 10, 5, VALUES)


def featurizer(shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten()
    return nn.Sequential(*layers), 64


@pytest.fixture(autouse=True)
def _convolutions(monkeypatch):
    monkeypatch.setitem(models.MODELS, "convolutions", models.Entry(featurizer, ""))


def end(run: Run) -> list[Tensor]:
    """Weights and buffers at the end."""
    tensors: list[Tensor] = trained(run).saved[-1]["tensors"]
    return tensors


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {"lr_schedule": "linear"}),
        ({}, {"lr_schedule": "cosine"}),
        ({}, {"lr_schedule": "step"}),
        ({}, {"lr_warmup": 3}),
        ({"lr_schedule": "linear"}, {"lr_floor": 0.5}),
        ({"lr_schedule": "step"}, {"lr_drop": 0.5}),
        ({"lr_schedule": "step"}, {"lr_drop_at": (0.2, 0.5)}),
        ({"lr_schedule": "cosine"}, {"rho_schedule": "lr"}),
        ({}, {"clip_norm": 0.1}),
        ({}, {"micro_batches": 2}),  # dropout and batch norm see pieces
        ({}, {"bn": "frozen"}),
        ({}, {"bn_second_pass": "updated"}),
        ({}, {"precision": "bf16"}),
    ],
    ids=str,
)
def test_each_option_changes_the_end_of_a_run(given, changed):
    before, after = end(replace(RUN, **given)), end(replace(RUN, **given, **changed))

    assert not all(map(torch.equal, before, after))


@pytest.mark.parametrize(
    "options",
    [
        {"lr_schedule": "cosine", "lr_warmup": 3, "rho_schedule": "lr", "clip_norm": 0.1},
        {"micro_batches": 3, "algorithm": "DISAM"},
        {"precision": "bf16", "micro_batches": 2},
        {"bn": "frozen", "channels_last": True, "deterministic": True},
    ],
    ids=str,
)
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_not_interrupted(options):
    run = replace(RUN, **options)
    whole = trained(run).saved

    (rest,) = trained(run, resume=reread(whole[0])).saved

    assert all(map(torch.equal, rest["tensors"], whole[-1]["tensors"]))


def test_lr_is_scheduled_step_by_step():
    trainer = Trainer(replace(RUN, lr_schedule="linear", lr_warmup=2, lr_floor=0.2), DIGITS)
    trainer.learn()
    seen = []
    for _ in range(10):
        trainer.train_one()
        seen.append(trainer.optimizer.lr)

    assert seen == pytest.approx([0, 0.005, 0.01, 0.009, 0.008, 0.007, 0.006, 0.005, 0.004, 0.003])


def test_rho_that_follows_lr_is_rho_on_lrs_schedule():
    run = replace(RUN, lr_schedule="cosine", lr_warmup=3, lr_floor=0.1)
    by_itself = replace(run, rho_schedule="cosine", rho_warmup=3, rho_floor=0.1)

    assert all(map(torch.equal, end(replace(run, rho_schedule="lr")), end(by_itself)))


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_weight():
    _, mean, variance, counted = end(replace(RUN, bn="frozen"))

    assert torch.equal(mean, torch.zeros(4))
    assert torch.equal(variance, torch.ones(4))
    assert counted == 0
    trainer = Trainer(replace(RUN, bn="frozen"), DIGITS)
    norm = trainer.model.featurizer[0][1]
    trainer.learn()
    trainer.train_one()
    assert not torch.equal(norm.weight, torch.ones(4))


def test_channels_last_lays_the_kernels_out_and_changes_no_score_by_more_than_rounding():
    run = replace(RUN, channels_last=True)

    def laid_out(run: Run) -> bool:
        kernel = Trainer(run, DIGITS).model.featurizer[0][3].weight
        return bool(kernel.is_contiguous(memory_format=torch.channels_last))

    assert [laid_out(RUN), laid_out(run)] == [False, True]
    one, other = (train(r, DIGITS, quiet).evaluations[-1] for r in (RUN, run))
    assert other.validation_loss == pytest.approx(one.validation_loss, rel=1e-3)


@pytest.mark.parametrize(
    ("option", "inside"),
    [
        ({}, ("ieee", "tf32", False)),
        ({"tf32": "none"}, ("ieee", "ieee", False)),
        ({"tf32": "all"}, ("tf32", "tf32", False)),
        ({"deterministic": True}, ("ieee", "tf32", True)),
    ],
    ids=str,
)
def test_torchs_settings_hold_while_a_run_lasts(option, inside):
    def now() -> tuple[str, str, bool]:
        return *computation.rounding(), torch.are_deterministic_algorithms_enabled()

    before, seen = now(), []

    train(replace(RUN, **option), DIGITS, lambda _: seen.append(now()))

    assert set(seen) == {inside}
    assert now() == before


def test_a_compiled_featurizer_is_used_in_both_passes_of_a_step(monkeypatch):
    used: list[bool] = []

    class Watched(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Tensor) -> Tensor:
            used.append(self.module.training)
            return self.module(x)

    monkeypatch.setattr(torch, "compile", Watched)
    compiled = end(replace(RUN, compile=True))

    assert used.count(True) == 1 + 2 * 10  # the trial, then two passes a step
    assert all(map(torch.equal, compiled, end(RUN)))


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(ValueError, match="device is 'cuda', but torch finds none"):
        trained(replace(RUN, device="cuda"))
