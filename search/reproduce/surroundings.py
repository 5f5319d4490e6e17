"""What is different here from where a trial ran: data, versions, code, device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from datasets.domain_dataset import DomainDataset
from search.reproduce.recorded_trial import RecordedTrial
from search.run import manifest
from search.run.run_folder import MANIFEST, RunFolder
from training.devices import device_name


def differences(folder: RunFolder, trial: RecordedTrial, dataset: DomainDataset) -> Iterator[str]:
    """A line each: `torch: 2.14.0 in the run, 2.15.0 here`."""
    known = manifest.fingerprints(folder).get(dataset.name)
    if known != dataset.fingerprint:
        was = "none" if known is None else known[:12]
        now = dataset.fingerprint[:12]
        yield f"images of {dataset.name}: fingerprint {was} in the run, {now} here"
    try:
        here = device_name(trial.spec.run.device)
    except (RuntimeError, AssertionError):  # torch without CUDA, or no GPU
        here = "no GPU"
    for what, old, new in _facts(_session(folder, trial), manifest.session()):
        if old != new:
            yield f"{what}: {old or 'none'} in the run, {new or 'none'} here"
    if trial.row["device"] and trial.row["device"] != here:
        yield f"device: {trial.row['device']} in the run, {here} here"


def _facts(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    if not old:
        yield MANIFEST, None, "what this machine has"
        return
    packages = dict.fromkeys([*old["packages"], *new["packages"]])
    yield "code", old["commit"], new["commit"]
    yield "python", old["python"], new["python"]
    yield "platform", old["platform"], new["platform"]
    for name in packages:
        yield name, old["packages"].get(name), new["packages"].get(name)


def _session(folder: RunFolder, trial: RecordedTrial) -> dict[str, Any]:
    """The driver's session in which the trial began for the last time; empty if none is known."""
    try:
        sessions = json.loads(folder.read_bytes(MANIFEST))["sessions"]
    except FileNotFoundError:
        return {}
    began = trial.row["started"]
    before = [
        session
        for session in sessions
        if began is None or datetime.fromisoformat(session["started"]) <= _utc(began)
    ]
    return dict((before or sessions)[-1])


def _utc(moment: Any) -> datetime:
    return datetime.fromtimestamp(moment.timestamp(), UTC)
