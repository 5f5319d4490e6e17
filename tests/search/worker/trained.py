"""Trials carried out as a worker does it, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

from search.run import manifest, tables
from search.run.run_folder import RunFolder
from search.study.plan import TrialSpec
from search.worker import trial

VALUES = {"lr": 1e-3, "weight_decay": 0.0, "dropout": 0.0, "batch_size": 8}


class Killed(BaseException):
    """What no trial can catch."""


def trained(
    folder: RunFolder, spec: TrialSpec, report: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """The row of a trial, which is carried out; `report` takes what it says."""
    manifest.record(folder, [])
    with patch.object(trial.tune, "report", report):
        trial.Trial(folder, spec).carry_out()
    row = tables.read_trial(folder, spec.trial)
    assert row is not None
    return row


def without_time(row: Mapping[str, Any]) -> dict[str, Any]:
    of_time = ("seconds", "started", "finished")
    return {name: value for name, value in row.items() if name not in of_time}
