"""How a repetition of a trial differs from the recorded one: its numbers, and what it ran on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datasets.domain_dataset import DomainDataset
from search.reproduce.recorded_trial import RecordedTrial
from search.run import manifest
from search.run.columns import FINAL_WEIGHTS
from search.run.run_folder import MANIFEST, RunFolder
from search.worker.trial_rows import evaluation_rows
from training.computation import device_name
from training.evaluation import Evaluation

KEYS = ("step", "weights", "domain", "split")  # of a row of `evaluations`
NUMBERS = ("accuracy", "loss", "sharpness", "curvature", "ece")


@dataclass(frozen=True)
class Difference:
    """A number of the tables that the repetition has otherwise, or not (None)."""

    where: str
    number: str
    table: float
    here: float | None

    @property
    def size(self) -> float:
        """Its absolute value; infinite if the number is missing."""
        return math.inf if self.here is None else abs(self.here - self.table)

    def __str__(self) -> str:
        if self.here is None:
            return f"{self.where}: {self.number} is in the table alone"
        by = self.here - self.table
        return (
            f"{self.where}: {self.number} {self.table!r} in the table, {self.here!r} here "
            f"({by:+.3g})"
        )


@dataclass(frozen=True)
class Agreement:
    """Whether a repetition has the numbers of the tables.

    count: numbers that were compared. differences: in the order of the tables. end: a sentence,
    if the repetition ended in another state.
    """

    count: int
    differences: tuple[Difference, ...]
    end: str = ""

    @property
    def agrees(self) -> bool:
        """Whether all numbers and the end are the same."""
        return not self.differences and not self.end

    def sentences(self) -> list[str]:
        """Whether the numbers agree; if not, the first difference and the largest ones."""
        lines = [self.end] if self.end else []
        if not self.differences:
            what = f"All {self.count} numbers agree, to the last bit."
            return [*lines, what if self.count else "There are no numbers to compare."]
        lines += [
            f"{len(self.differences)} of {self.count} numbers differ.",
            f"First: {self.differences[0]}",
        ]
        for number in NUMBERS:
            own = [d for d in self.differences if d.number == number and d.here is not None]
            if own:
                lines.append(f"Largest of {number}: {max(own, key=lambda d: d.size)}")
        return lines


def compare(
    trial: RecordedTrial, evaluations: Sequence[Evaluation], state: str | None
) -> Agreement:
    """Compares every number of a recorded trial, bit for bit, with that of a repetition.

    state: how the repetition ended; None if it was stopped where the trial had been. What only
    the repetition has is no difference: a trial that was stopped was evaluated less.
    """
    here = {tuple(row[key] for key in KEYS): row for row in evaluation_rows(evaluations)}
    count, found = 0, []
    for row in trial.evaluations.to_dict("records"):
        place = tuple(row[key] for key in KEYS)
        step, weights, domain, split = place
        average = f", {weights}" if weights in FINAL_WEIGHTS else ""
        where = f"step {step}{average}, domain {domain}, {split} split"
        for number in NUMBERS:
            old, new = _number(row.get(number)), _number(here.get(place, {}).get(number))
            count += old is not None
            if old is not None and old != new:
                found.append(Difference(where, number, old, new))
    recorded = trial.row["state"]
    same = state in (None, recorded)
    end = "" if same else f"It ended as {recorded}, and as {state} here."
    return Agreement(count, tuple(found), end)


def _number(value: float | None) -> float | None:
    # pandas shows a null as NaN; a NaN in the table counts as missing.
    return None if value is None or math.isnan(value) else value


def changes(folder: RunFolder, trial: RecordedTrial, dataset: DomainDataset) -> Iterator[str]:
    """What a trial ran on and is not the same here: images, code, versions, device.

    A line each, such as `torch: 2.14.0 in the run, 2.15.0 here`.
    """
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
    """The session of the driver in which the trial last began; empty if none is known."""
    recorded = manifest.read(folder)
    if recorded is None or not recorded["sessions"]:
        return {}
    sessions = recorded["sessions"]
    began = trial.row["started"]
    before = [
        session
        for session in sessions
        if began is None
        or datetime.fromisoformat(session["started"])
        <= datetime.fromtimestamp(began.timestamp(), UTC)
    ]
    return dict((before or sessions)[-1])
