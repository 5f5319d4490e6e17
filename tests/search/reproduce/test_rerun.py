"""`rerun` repeats a trial from the run's files alone, and says whether the numbers agree."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from search.run import lease, tables
from search.run.run_folder import MANIFEST, RunFolder
from tests.search.cli.test_cli import content
from tests.search.command import refused, steppe
from tests.search.reproduce.recorded import STUDY, rewrite, sam_sweep, stop, train

HP_TYPES = {"lr": float, "weight_decay": float, "dropout": float, "batch_size": int, "rho": float}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def said_again(folder: RunFolder, trial: str, code: int) -> str:
    done = steppe("rerun", folder.uri, trial)
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done.stdout


def test_a_trial_agrees_to_the_last_bit_and_the_run_stays_as_it_was(folder):
    train(sam_sweep(), folder, {}, {"lr": 3.0, "batch_size": 5})
    before = content(Path(folder.root))
    for name in (f"{STUDY}.1", "SAM.0.0.0"):
        text = said_again(folder, name, 0)
        # Five source domains at three steps, the held-out one's two splits at one or two.
        assert "agree, to the last bit." in text
        assert f"{STUDY}." in text
        assert "differ" not in text
    assert "lr 0.0003333333333333333," in text
    assert content(Path(folder.root)) == before


@pytest.mark.parametrize(
    ("training", "values"),
    [
        ({"averaging": "ema"}, {"ema_decay": 0.7}),
        ({"averaging": "sma", "start": "linear-probe", "start_lr": 0.01}, {"sma_start": 5}),
        ({"evaluations": "all", "flatness": "sharpness", "lr_schedule": "cosine"}, {}),
    ],
)
def test_averages_and_flatness_agree_too(folder, training, values):
    train(sam_sweep(training=training), folder, values)
    assert "agree, to the last bit." in said_again(folder, f"{STUDY}.0", 0)


def test_a_number_that_differs_is_shown_with_its_place_and_by_how_much(folder):
    (spec,) = train(sam_sweep(), folder, {})
    table = tables.read_evaluations(folder)
    loss = table[(table["step"] == 20) & (table["domain"] == "45")]["loss"].item()
    rewrite(folder, spec.trial, lambda rows: [
        row | {"loss": loss + 1e-12} if (row["step"], row["domain"]) == (20, "45") else row
        for row in rows
    ])  # fmt: skip
    text = said_again(folder, spec.trial, 1)
    assert "1 of " in text
    place = "First: step 20, domain 45, out split: loss"
    assert f"{place} {loss + 1e-12!r} in the table, {loss!r} here (-1e-12)" in text


@pytest.mark.parametrize("state", ["pruned", "failed"])
def test_a_trial_that_was_stopped_is_repeated_as_far_as_it_came(folder, state):
    (spec,) = train(sam_sweep(), folder, {})
    stop(folder, spec, state, 20)
    text = said_again(folder, spec.trial, 0)
    assert "training 20 steps" in text
    assert "All 30 numbers agree" in text  # five domains, two steps, accuracy, loss, calibration


def test_a_trial_that_diverged_diverges_again(folder):
    (spec,) = train(sam_sweep(), folder, {"lr": 1e30})
    text = said_again(folder, spec.trial, 0)
    assert "There are no numbers to compare." in text
    assert "It ended as" not in text


def test_a_trial_that_ends_otherwise_differs(folder):
    (spec,) = train(sam_sweep(), folder, {})
    stop(folder, spec, "diverged", 20)
    assert "It ended as diverged, and as completed here." in said_again(folder, spec.trial, 1)


def test_what_is_not_as_it_was_is_said_first(folder):
    train(sam_sweep(), folder, {})
    manifest = json.loads(folder.read_bytes(MANIFEST))
    manifest["sessions"][0]["packages"]["torch"] = "0.1"
    manifest["datasets"]["RotatedDigits"] = "0123456789abcdef"
    folder.write_bytes(MANIFEST, json.dumps(manifest).encode())
    text = said_again(folder, f"{STUDY}.0", 0)
    assert "Not as it was: torch: 0.1 in the run, " in text
    assert "Not as it was: images of RotatedDigits: fingerprint 0123456789ab in the run" in text


def test_what_cannot_be_repeated_is_refused_with_the_way_out(folder, tmp_path):
    first, second = train(sam_sweep(), folder, {}, {})
    assert f"did you mean {STUDY}.1?" in refused("rerun", folder.uri, f"{STUDY}.7")
    assert "did you mean" in refused("rerun", folder.uri, "SAN.0.0.1")
    assert "there is no run" in refused("rerun", tmp_path / "rum", "0")
    other = RunFolder(tmp_path / "other")
    train(sam_sweep(held_out=["0", "75"]), other, {})
    table = tables.read_trials(other)
    study = "RotatedDigits.mlp.SAM.75.0"
    double = table.iloc[0].to_dict() | {"study": study, "trial": f"{study}.0", "held_out": "75"}
    tables.write_trial(other, {k: v for k, v in double.items() if pd.notna(v)}, HP_TYPES)
    assert "give more of the name" in refused("rerun", other.uri, "0.0")
    stop(folder, second, "failed", 0)
    assert "never came to an evaluation (failed: the reason)" in refused(
        "rerun", folder.uri, second.trial
    )
    with lease.Lease(folder, on_loss=lambda: None):
        assert "is going on, driven by process" in refused("rerun", folder.uri, first.trial)
    folder.delete(f"trials/{first.trial}.parquet")
    assert "has not ended: `python -m search resume" in refused("rerun", folder.uri, first.trial)
