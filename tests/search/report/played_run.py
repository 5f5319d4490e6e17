"""Runs as sweeps leave them, without training: what a trial reached is a formula of its values."""

from __future__ import annotations

import math
from typing import Any

import datasets
from search.run import manifest, tables
from search.run.run_folder import RunFolder
from search.sweep.schema import Sweep
from tests.search.play import finish, open_ledger, quality, record, small_sweep

STEPS = (30, 60, 90)


def several(**changes: Any) -> Sweep:
    """Four algorithms, two held-out domains, two seeds, four trials each."""
    changes = {
        "algorithms": ["ERM", "SAM", "SAGM", "DISAM+SAGM"],
        "held_out": ["0", "75"],
        "seeds": [0, 1],
        "training": {"flatness": "sharpness"},
        **changes,
    }
    return small_sweep(**{"search": {"trials": 4}, **changes})


def begin(sweep: Sweep, folder: RunFolder) -> None:
    """What a driver writes before the first trial."""
    record(sweep, folder)
    names = [sweep.dataset.name] if sweep.dataset else list(sweep.datasets)
    manifest.record(folder, [datasets.load(name) for name in names])


def play(sweep: Sweep, folder: RunFolder, trials: int | None = None) -> None:
    """Begins a run and ends that many trials, all without a number; some diverge, some fail."""
    begin(sweep, folder)
    ledger = open_ledger(sweep, folder)
    count = 0
    while (trials is None or count < trials) and (spec := ledger.next()) is not None:
        value = 0.5 + 0.4 * quality(spec.values)
        count += 1
        state, reason = "completed", None
        if count % 17 == 5:
            state, reason = "diverged", "the loss is not finite at step 41"
        elif count % 23 == 7:
            state, reason = "failed", "OSError: <script>alert('reason')</script> & more"
        _evaluate(sweep, folder, spec, value)
        two = len(sweep.search.objectives) == 2
        second = 0.5 + 0.4 * math.sin(20 * value) if two else None
        finish(ledger, folder, spec, value, state, reason=reason, second=second)


def _evaluate(sweep: Sweep, folder: RunFolder, spec: Any, value: float) -> None:
    study = spec.study
    domains = [domain.name for domain in datasets.load(study.dataset).domains]
    rows = []
    for step in STEPS:
        reached = value - 0.2 * math.exp(-step / 30) * (step < STEPS[-1])
        rows += [_row(step, d, "source", "out", reached) for d in domains if d != study.held_out]
    held_out = value - 0.1 - 0.05 * math.sin(100 * value)
    rows += [_row(90, study.held_out, "held_out", split, held_out) for split in ("in", "out")]
    if sweep.training.flatness != "none":
        flat = {"sharpness": 0.1 + 0.05 * math.cos(50 * value)}
        rows += [_row(90, d, "source", "in", value, **flat) for d in domains if d != study.held_out]
    tables.write_evaluations(folder, sweep.name, study.id, spec.trial, rows)


def _row(
    step: int, domain: str, role: str, split: str, accuracy: float, **more: float
) -> dict[str, Any]:
    scores = {"accuracy": accuracy, "loss": 1 - accuracy, "count": 60, "seconds": 0.1 * step}
    where = {"step": step, "weights": "iterate", "domain": domain, "role": role, "split": split}
    return {**where, **scores, **more}
