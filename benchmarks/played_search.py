"""A study's search, its trials trained in this process instead of on Ray."""

from __future__ import annotations

import math
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

# The choice before the first evaluation: its validation, its trial, its held-out accuracy.
NOBODY = (0.0, -1, 0.0)


@dataclass
class Played:
    """What a search of one study spent, and what its choice was after each evaluation.

    passes: spent by all trials until then. validation, held_out: of the best evaluation so far (of
    equal trials, the last; of equal steps, the first). stopped: trials stopped early; missed: the
    most that one of them would have come to, had it gone on. switches: times a trial was frozen.
    wall: passes from beginning to end, where several workers make some at the same time.
    """

    passes: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    trials: int = 0
    switches: int = 0
    wall: float = 0.0
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


@dataclass
class Worker:
    """What trains one trial at a time. clock: passes since the search began, its own and waiting.

    at: evaluations that the trial has come to; paid: its passes until it was given this worker.
    """

    clock: float = 0.0
    spec: TrialSpec | None = None
    curve: Curve | None = None
    at: int = 0
    paid: float = 0.0


def play(sweep: Sweep, curves: Curves, most: float | None = None, workers: int = 1) -> Played:
    """Searches the sweep's one study, with its ledger.

    As on Ray, a trial reports its best value so far at each evaluation and is stopped, or frozen,
    when the ledger says so. A frozen trial goes on where it was, or starts over and pays again if
    its checkpoint was deleted. The choice is made among all trials until the search ends, and then
    among those that completed. most: passes after which the search ends.
    """
    played = Played()
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder.create(scratch)
        ledger = Ledger(plans(sweep), folder, storage.open_for_writing(folder))
        whole: dict[int, tuple[bool, Curve]] = {}  # by trial: whether it was stopped
        spent, leader = 0.0, NOBODY
        team = [Worker() for _ in range(workers)]
        while most is None or spent < most:
            for worker in team:
                if worker.spec is None:
                    _take(worker, ledger.next(), folder, curves)
            busy = [worker for worker in team if worker.spec is not None]
            if not busy:
                break
            worker = min(busy, key=lambda one: one.clock)
            spec, curve = worker.spec, worker.curve
            assert spec is not None
            assert curve is not None
            worker.at += 1
            seen = curve.validation[: worker.at]
            if not seen:  # it diverges before its first evaluation
                stopped, last = False, True
            else:
                if not curve.diverged:
                    best = seen.index(max(seen))
                    leader = max(leader, (seen[best], spec.number, curve.held_out[best]))
                cost = curve.passes[worker.at - 1] - worker.paid
                worker.paid, worker.clock, spent = (
                    curve.passes[worker.at - 1],
                    worker.clock + cost,
                    spent + cost,
                )
                played.note(spent, leader)
                stopped = ledger.report(spec, said(curve, worker.at - 1))
                stopped, last = stopped or ledger.is_frozen(spec), worker.at == len(curve.steps)
            if stopped and ledger.is_frozen(spec):
                folder.write_bytes(_checkpoint(spec), str(worker.at).encode())
                ledger.freeze(spec)
                played.switches += 1
            elif stopped:
                ledger.prune(spec)
            elif last:
                rest = curve.spent - worker.paid
                worker.clock, spent = worker.clock + rest, spent + rest
                finish(ledger, folder, spec, curve)
            if stopped or last:
                whole[spec.number] = (bool(stopped), curve)
                worker.spec = None
                for idle in team:  # it waited for this
                    if idle.spec is None:
                        idle.clock = max(idle.clock, worker.clock)
        completed = [
            (curve.validation[best], number, curve.held_out[best])
            for number, (stopped, curve) in whole.items()
            if not stopped and not curve.diverged
            for best in [curve.validation.index(max(curve.validation))]
        ]
        played.note(spent, max(completed, default=leader))
        played.wall = max(worker.clock for worker in team)
        lost = [curve for stopped, curve in whole.values() if stopped]
        played.trials, played.stopped = len(whole), len(lost)
        best_lost = [max(curve.validation) for curve in lost if not curve.diverged]
        played.missed = max(best_lost, default=0.0)
    return played


def _take(worker: Worker, spec: TrialSpec | None, folder: RunFolder, curves: Curves) -> None:
    """Gives a worker a trial, which goes on from its checkpoint, if there is one."""
    worker.spec = spec
    if spec is None:
        return
    worker.curve = curves.of(spec.run)
    name = _checkpoint(spec)
    worker.at = int(folder.read_bytes(name)) if folder.exists(name) else 0
    worker.paid = worker.curve.passes[worker.at - 1] if worker.at else 0.0


def _checkpoint(spec: TrialSpec) -> str:
    return f"{CHECKPOINTS}/{spec.trial}.a.pt"


def play_to(sweep: Sweep, curves: Curves, share: float) -> Played:
    """Trains all trials for a share of their evaluations, and then the best one to its end."""
    played = Played()
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder.create(scratch)
        ledger = Ledger(plans(sweep), folder, storage.open_for_writing(folder))
        spent, leader = 0.0, (-1.0, -1, 0.0)
        found: list[Curve] = []
        while (spec := ledger.next()) is not None:
            found.append(curve := curves.of(spec.run))
            whole = math.ceil(sweep.training.steps / sweep.training.evaluate_every)
            until = min(round(share * whole), len(curve.steps))
            for at in range(until):
                if not curve.diverged:
                    leader = max(leader, (curve.validation[at], spec.number, curve.held_out[at]))
                played.note(spent + curve.passes[at], leader)
            spent = played.spent if until else spent
        last = found[leader[1]]
        until = round(share * len(last.steps))
        spent -= last.passes[until - 1]
        for at in range(until, len(last.steps)):
            leader = max(leader, (last.validation[at], leader[1], last.held_out[at]))
            played.note(spent + last.passes[at], leader)
        played.trials, played.stopped = len(found), len(found) - 1
        played.wall = played.spent
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
