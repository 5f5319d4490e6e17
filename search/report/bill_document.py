"""A bill in words and as a JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.filesize import decimal
from rich.table import Table

from search.driver.bill import SPENT, Bill, Method, costly_lines, first_line, number
from search.driver.trial_cost import Cost
from search.screen import clock_time


def document(bill: Bill) -> dict[str, Any]:
    """All that is known of a bill, as plain values. Seconds are null where they are not known."""

    def plain(cost: Cost) -> dict[str, Any]:
        found = {name: round(value, 3) for name, value in vars(cost).items()}
        return found if bill.workers is not None else {**found, "seconds": None}

    def of_method(method: Method, cost: Cost) -> dict[str, Any]:
        dataset, algorithm = method
        timing = bill.timed.get(method)
        return {
            "dataset": dataset,
            "algorithm": algorithm,
            **plain(cost),
            "step_seconds": timing and timing.step,
            "step_passes": timing and timing.passes,
            "busy": timing and timing.busy,
        }

    return {
        "sweep": bill.sweep.name,
        "studies": len(bill.studies),
        "trials": len(bill.trials),
        "ended": bill.ended,
        "left": plain(bill.left),
        "whole": plain(bill.whole),
        "workers": bill.workers,
        "pace": bill.pace,
        "wall_seconds": bill.wall_seconds(),
        "pruning": {
            "scheduler": bill.sweep.search.scheduler,
            "spends": [*bill.spends],
            "wall_seconds": [bill.wall_seconds(share) for share in bill.spends],
        },
        "methods": [of_method(*item) for item in bill.left_by_method().items()],
        "one_less": [
            {"what": what, "name": name, "share": share} for what, name, share in bill.one_less()
        ],
        "costly": [
            {"trial": trial.name, "passes": trial.cost.passes, "times": times}
            for trial, times in bill.costly()
        ],
        "images": {name: dict(counts) for name, counts in bill.images.items()},
        "undecoded": {"bytes": bill.undecoded[0], "images": bill.undecoded[1]},
        "disk": bill.disk(),
        "budget": [
            {"key": limit.key, "share": limit.most / limit.spent} for limit in bill.reached_limits()
        ],
        "notes": list(bill.notes),
    }


def lines(bill: Bill) -> Iterator[Any]:
    """What the command `plan` prints, line by line; among them a table of the methods."""
    yield first_line(bill)
    left = bill.left
    if not left.trials:
        yield "Nothing is left to pay."
        return
    yield _table(bill)
    yield (
        f"Together: {number(left.runs)} runs of {number(left.steps)} steps, "
        f"{number(left.passes)} passes, {number(left.evaluations)} evaluations; "
        f"{number(left.trained)} images trained on, {number(left.scored)} scored"
    )
    yield from costly_lines(bill)
    yield _disk_line(bill)
    yield from _time_lines(bill)
    for limit in bill.reached_limits():
        yield f"{limit.key} ends the sweep after about {limit.most / limit.spent:.0%} of that"
    savings: dict[str, list[str]] = {}
    for what, name, share in bill.one_less():
        savings.setdefault(what, []).append(f"{name} {share:.0%}".strip())
    for what, shares in savings.items():
        yield f"One {what} less saves: {', '.join(shares)}"
    yield from (f"Note: {note}." for note in bill.notes)


def _table(bill: Bill) -> Table:
    timed = bill.workers is not None
    table = Table(title="What is left to pay, if no trial is stopped", title_justify="left")
    several = len(bill.images) > 1
    for name in (*["dataset"] * several, "algorithm"):
        table.add_column(name)
    for name in ("trials", "steps", "passes", "a step", "a trial", "worker hours"):
        table.add_column(name, justify="right")
    for method, cost in bill.left_by_method().items():
        timing = bill.timed.get(method)
        trials = max(cost.trials, 1e-9)
        table.add_row(
            *method[0 if several else 1 :],
            number(cost.trials),
            number(cost.steps),
            number(cost.passes),
            "" if timing is None else f"{1000 * timing.step:.3g} ms",
            clock_time(cost.seconds / trials) if timed else "",
            f"{cost.seconds / 3600:.3g}" if timed else "",
        )
    return table


def _time_lines(bill: Bill) -> Iterator[str]:
    wall = bill.wall_seconds()
    if wall is None:
        return
    workers = f"{bill.workers} trial{'s' * (bill.workers != 1)} at a time"
    yield f"Time: {clock_time(wall)} with {workers}, as on this machine"
    if bill.pace < 1:
        yield (
            "Other processes take part of its CPUs now; without them "
            f"{clock_time(wall * bill.pace)}"
        )
    low, high = (bill.wall_seconds(share) or 0.0 for share in bill.spends)
    if low < wall:
        search = bill.sweep.search
        who: list[str] = []
        why: list[str] = []
        if search.scheduler != "none":
            who.append(search.scheduler)
            why.append(
                "what it spent where it was measured, on digits"
                if search.scheduler in SPENT
                else "if all but one stop as soon as they may, or none does"
            )
        if search.objective_over == "seeds":
            who.append("objective_over: seeds")
            why.append("if one setting is trained with all seeds, or all are")
        shares = " to ".join(f"{share:.0%}" for share in bill.spends)
        yield (
            f"With {' and '.join(who)}: {clock_time(low)} to {clock_time(high)} "
            f"({shares}: {'; '.join(why)})"
        )


def _disk_line(bill: Bill) -> str:
    kinds = bill.disk()
    size, count = bill.undecoded
    cache = f"; the cache of {number(count)} images up to {decimal(size)}" if count else ""
    parts = [f"{name} {decimal(kept)}" for name, kept in kinds.items() if kept]
    if unknown := [name for name, kept in kinds.items() if kept is None]:
        cache += f"; {' and '.join(unknown)} are not known without a timed step"
    return f"Disk, at most: {', '.join(parts)}{cache}"
