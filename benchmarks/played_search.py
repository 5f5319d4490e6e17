"""A study's search, its trials trained in this process instead of on Ray."""

from __future__ import annotations

import tempfile
import time
from bisect import bisect_right
from dataclasses import dataclass, field

from benchmarks.learning_curves import Curve, Curves
from search.driver.ledger import Ledger
from search.run import storage, tables
from search.run.run_folder import CHECKPOINTS, RunFolder
from search.study.plan import TrialSpec, plans
from search.sweep.schema import Sweep
from search.worker.trial_rows import Progress, trial_row


@dataclass
class Played:
    """What a search of one study spent, and what its choice was after each evaluation.

    passes: spent by all trials until then. validation, held_out: of the best evaluation so far (of
    equal trials, the last; of equal steps, the first). stopped: trials stopped early; missed: the
    most that one of them would have come to, had it gone on. switches: times a trial was frozen.
    """

    passes: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    trials: int = 0
    switches: int = 0
    stopped: int = 0
    missed: float = 0.0

    def note(self, passes: float, leader: tuple[float, int, float]) -> None:
        validation, _, held_out = leader
        self.passes.append(passes)
        self.validation.append(validation)
        self.held_out.append(held_out)

    @property
    def spent(self) -> float:
        return self.passes[-1]

    def at(self, passes: float) -> int:
        """The evaluation that it had come to with so many passes, or else its first."""
        return max(bisect_right(self.passes, passes + 1e-6) - 1, 0)

    def until(self, curve: list[float], goal: float) -> float | None:
        """Passes until `curve` (validation or held_out) has come to the goal, None if it has not.

        A held-out accuracy can fall again when the choice changes: it counts from where it stays.
        """
        below = [at for at, value in enumerate(curve) if value < goal]
        first = below[-1] + 1 if below else 0
        return self.passes[first] if first < len(curve) else None


def play(sweep: Sweep, curves: Curves, most: float | None = None) -> Played:
    """Searches the sweep's one study, with its ledger.

    As on Ray, a trial reports its best value so far at each evaluation and is stopped, or frozen,
    when the ledger says so. A frozen trial goes on where it was, or starts over and pays again if
    its checkpoint was deleted. most: passes after which the search ends.
    """
    played = Played()
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder.create(scratch)
        ledger = Ledger(plans(sweep), folder, storage.open_for_writing(folder))
        whole: dict[int, tuple[bool, Curve]] = {}  # by trial: whether it was stopped
        spent, leader = 0.0, (0.0, -1, 0.0)  # (validation, trial, held-out accuracy) of the choice
        while most is None or spent < most:
            spec = ledger.next()
            if spec is None:
                break
            curve = curves.of(spec.run)
            best, stopped = -1.0, False
            checkpoint = f"{CHECKPOINTS}/{spec.trial}.a.pt"
            before = int(folder.read_bytes(checkpoint)) if folder.exists(checkpoint) else 0
            paid = curve.passes[before - 1] if before else 0.0
            for at, validation in enumerate(curve.validation):
                if validation > best and not curve.diverged:
                    best = validation
                    leader = max(leader, (best, spec.number, curve.held_out[at]))
                if at >= before:
                    played.note(spent + curve.passes[at] - paid, leader)
                stopped = ledger.report(spec, said(curve, at)) or ledger.is_frozen(spec)
                if stopped:
                    break
            if stopped and ledger.is_frozen(spec):
                spent = played.passes[-1]
                folder.write_bytes(checkpoint, str(at + 1).encode())
                ledger.freeze(spec)
                played.switches += 1
            elif stopped:
                ledger.prune(spec)
                spent = played.passes[-1]
            else:
                spent += curve.spent - paid
                played.note(spent, leader)
                finish(ledger, folder, spec, curve)
            whole[spec.number] = (bool(stopped), curve)
        lost = [curve for stopped, curve in whole.values() if stopped]
        played.trials, played.stopped = len(whole), len(lost)
        best_lost = [max(curve.validation) for curve in lost if not curve.diverged]
        played.missed = max(best_lost, default=0.0)
    return played


def said(curve: Curve, at: int, state: str | None = None) -> Progress:
    """What a trial says of itself at an evaluation; before its first, `at` is -1."""
    seen = curve.validation[: at + 1]
    value = max(seen, default=None)
    return Progress(
        step=curve.steps[at] if seen else 0,
        value=value,
        best_step=None if value is None else curve.steps[seen.index(value)],
        seconds=0.0,
        started=time.time(),
        node="here",
        device="cpu",
        state=state,
        reason=curve.diverged or None,
        passes=curve.passes[at] if seen else 0.0,
        images=curve.images,
    )


def finish(ledger: Ledger, folder: RunFolder, spec: TrialSpec, curve: Curve) -> None:
    state = "diverged" if curve.diverged else "completed"
    end = said(curve, len(curve.steps) - 1, state)
    row = trial_row(spec, end, state, end.reason)
    tables.write_trial(folder, row, spec.plan.column_types)
    ledger.finish(spec, end)
