"""A bill in words and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.filesize import decimal
from rich.table import Table

from search.driver.bill import SPENT, Bill, dear_lines, first_line, name_of, number
from search.driver.freezing import MOST_CHECKPOINTS
from search.driver.planning import Planned
from search.driver.trial_cost import Cost
from search.screen import clock_time
from search.study.budgets import BUDGET, Spent, limits
from search.sweep.search_keys import FREEZE_THAW

START = 12.0  # seconds until Ray and its first workers are up
# Bytes of the tables and of Optuna's journal, of a trial and of each of its evaluations.
OF_TRIAL, OF_EVALUATION = 12_000, 1_000


def document(planned: Planned) -> dict[str, Any]:
    """All that is known of a bill, as plain values. Seconds are null where they are not known."""
    bill, known = planned.bill, planned.workers is not None
    low, high = bill.spent()
    total = bill.whole
    return {
        "sweep": planned.sweep.name,
        "studies": len(bill.studies),
        "trials": len(bill.trials),
        "ended": planned.ended,
        "left": _cost(total, known),
        "whole": _cost(sum((trial.cost for trial in bill.trials), Cost()), known),
        "workers": planned.workers,
        "pace": planned.pace,
        "wall_seconds": _wall(planned, 1.0),
        "pruning": {
            "scheduler": planned.sweep.search.scheduler,
            "spends": [low, high],
            "wall_seconds": [_wall(planned, low), _wall(planned, high)],
        },
        "methods": [
            {"dataset": dataset, "algorithm": algorithm, **_cost(cost, known), **_timed(bill, key)}
            for key, cost in _methods(bill).items()
            for dataset, algorithm in [key]
        ],
        "one_less": [
            {"what": what, "name": name, "share": share} for what, name, share in one_less(planned)
        ],
        "dear": [
            {"trial": name_of(trial), "passes": trial.cost.passes, "times": times}
            for trial, times in bill.dear()
        ],
        "images": {name: dict(counts) for name, counts in bill.images.items()},
        "undecoded": {"bytes": planned.undecoded[0], "images": planned.undecoded[1]},
        "disk": disk(planned),
        "budget": [{"key": key, "share": share} for key, share in budgets(planned)],
        "notes": list(planned.notes),
    }


def lines(planned: Planned) -> Iterator[Any]:
    """What the command `plan` prints, line by line; among them a table of the methods."""
    bill, sweep = planned.bill, planned.sweep
    yield first_line(sweep.name, bill, planned.ended)
    left = bill.whole
    if not left.trials:
        yield "Nothing is left to pay."
        return
    yield _table(planned)
    yield (
        f"Together: {number(left.runs)} runs of {number(left.steps)} steps, "
        f"{number(left.passes)} passes, {number(left.evaluations)} evaluations; "
        f"{number(left.trained)} images trained on, {number(left.scored)} scored"
    )
    yield from dear_lines(bill)
    yield _disk_line(planned)
    yield from _time_lines(planned)
    for key, share in budgets(planned):
        yield f"{key} ends the sweep after about {share:.0%} of that"
    savings: dict[str, list[str]] = {}
    for what, name, share in one_less(planned):
        savings.setdefault(what, []).append(f"{name} {share:.0%}".strip())
    for what, shares in savings.items():
        yield f"One {what} less saves: {', '.join(shares)}"
    yield from (f"Note: {note}." for note in planned.notes)


def one_less(planned: Planned) -> list[tuple[str, str, float]]:
    """What one domain, seed, algorithm or dataset less would save: of what is left, from 0 to 1."""
    bill = planned.bill
    total = bill.whole
    whole = total.seconds or total.passes
    found = []
    several = len(bill.images) > 1
    keys: Mapping[str, Any] = {
        "dataset": lambda t: t.plan.study.dataset,
        "algorithm": lambda t: t.plan.study.algorithm,
        "seed": lambda t: t.plan.study.seed,
        "held-out domain": lambda t: (
            f"{t.plan.study.dataset} {t.plan.study.held_out}" if several else t.plan.study.held_out
        ),
    }
    for what, key in keys.items():
        costs = bill.by(key)
        if len(costs) > 1 and whole:
            shares = {n: (c.seconds or c.passes) / whole for n, c in costs.items()}
            even = max(shares.values()) - min(shares.values()) < 0.01
            named = dict(list(shares.items())[:1]) if even else shares
            found += [(what, "" if even else str(n), share) for n, share in named.items()]
    return [(what, name, share) for what, name, share in found if share]


def budgets(planned: Planned) -> list[tuple[str, float]]:
    """The limits of the sweep's budget that its trials would reach, and after which share."""
    cost = sum((trial.cost for trial in planned.bill.trials), Cost()).times(planned.bill.spent()[1])
    spent = Spent(len(planned.bill.trials), cost.seconds, cost.passes)
    resources = planned.sweep.resources.model_dump()
    hours = (_wall(planned, planned.bill.spent()[1]) or 0.0) / 3600
    found = limits(BUDGET, planned.sweep.search.budget.model_dump(), resources, spent, hours)
    return [(limit.key, limit.most / limit.spent) for limit in found if limit.reached]


def disk(planned: Planned) -> dict[str, int | None]:
    """Bytes that a run will take at most, by kind; None where it is not known."""
    bill, search = planned.bill, planned.sweep.search
    whole = sum((trial.cost for trial in bill.trials), Cost())
    found: dict[str, int | None] = {
        "tables": int(OF_TRIAL * whole.trials + OF_EVALUATION * whole.evaluations)
    }
    if not bill.timed:
        return {**found, "checkpoints": None, "weights": None}
    largest = max(timing.checkpoint for timing in bill.timed.values())
    weights = frozen = 0
    for study, trials in bill.studies.items():
        timing = bill.timed.get((study.dataset, study.algorithm))
        most = len(trials) if search.most_kept is None else min(search.most_kept, len(trials))
        weights += most * (timing.weights if timing else 0)
        frozen += min(MOST_CHECKPOINTS, len(trials))
    count = 2 * (planned.workers or 1) + (frozen if search.scheduler == FREEZE_THAW else 0)
    return {**found, "checkpoints": count * largest, "weights": weights}


def _table(planned: Planned) -> Table:
    bill, timed = planned.bill, planned.workers is not None
    table = Table(title="What is left to pay, if no trial is stopped", title_justify="left")
    several = len(bill.images) > 1
    for name in (*["dataset"] * several, "algorithm"):
        table.add_column(name)
    for name in ("trials", "steps", "passes", "a step", "a trial", "worker hours"):
        table.add_column(name, justify="right")
    for (dataset, algorithm), cost in _methods(bill).items():
        timing = bill.timed.get((dataset, algorithm))
        trials = max(cost.trials, 1e-9)
        table.add_row(
            *[dataset] * several,
            algorithm,
            number(cost.trials),
            number(cost.steps),
            number(cost.passes),
            "" if timing is None else f"{1000 * timing.step:.3g} ms",
            clock_time(cost.seconds / trials) if timed else "",
            f"{cost.seconds / 3600:.3g}" if timed else "",
        )
    return table


def _time_lines(planned: Planned) -> Iterator[str]:
    wall = _wall(planned, 1.0)
    if wall is None:
        return
    workers = planned.workers
    low, high = (_wall(planned, share) or 0.0 for share in planned.bill.spent())
    plural = "s" * (workers != 1)
    yield f"Time: {clock_time(wall)} with {workers} trial{plural} at a time, as on this machine"
    if planned.pace < 1:
        yield (
            f"Other processes take part of its CPUs now; without them "
            f"{clock_time(wall * planned.pace)}"
        )
    scheduler = planned.sweep.search.scheduler
    if low < wall:
        shares = " to ".join(f"{share:.0%}" for share in planned.bill.spent())
        why = {"none": ""}.get(scheduler, "if all but one stop as soon as they may, or none does")
        if scheduler in SPENT:
            why = "what it spent where it was measured, on digits"
        who: list[str] = [] if scheduler == "none" else [scheduler]
        if planned.sweep.search.objective_over == "seeds":
            who.append("objective_over: seeds")
            why += "; " * bool(why) + "if one setting is trained with all seeds, or all are"
        yield f"With {' and '.join(who)}: {clock_time(low)} to {clock_time(high)} ({shares}: {why})"


def _wall(planned: Planned, share: float) -> float | None:
    """Seconds from the start to the end on this machine, as busy as it is with other processes."""
    if planned.workers is None:
        return None
    left = planned.bill.whole
    # The last trial is alone; a worker more does not make it shorter.
    longest = max((t.cost.seconds * t.left for t in planned.bill.trials), default=0.0)
    seconds = START + max(left.seconds * share / planned.workers, longest)
    return seconds / planned.pace if left.trials else 0.0


def _disk_line(planned: Planned) -> str:
    kinds = disk(planned)
    size, count = planned.undecoded
    cache = f"; the cache of {number(count)} images up to {decimal(size)}" if count else ""
    parts = [f"{name} {decimal(kept)}" for name, kept in kinds.items() if kept]
    if unknown := [name for name, kept in kinds.items() if kept is None]:
        cache += f"; {' and '.join(unknown)} are not known without a timed step"
    return f"Disk, at most: {', '.join(parts)}{cache}"


def _methods(bill: Bill) -> dict[tuple[str, str], Cost]:
    return bill.by(lambda trial: (trial.plan.study.dataset, trial.plan.study.algorithm))


def _timed(bill: Bill, key: tuple[str, str]) -> dict[str, Any]:
    timing = bill.timed.get(key)
    if timing is None:
        return {"step_seconds": None, "step_passes": None, "busy": None}
    return {"step_seconds": timing.step, "step_passes": timing.passes, "busy": timing.busy}


def _cost(cost: Cost, known: bool) -> dict[str, Any]:
    found = {name: round(value, 3) for name, value in vars(cost).items()}
    return found if known else {**found, "seconds": None}
