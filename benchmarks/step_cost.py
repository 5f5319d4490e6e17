"""What a step of each algorithm costs, against ERM, its bare passes, and the released codes' way.

    python -m benchmarks.step_cost [--models mlp cnn resnet18-64 resnet18-224 resnet50-224]
        [--algorithms ERM SAGM] [--image-size 128] [--batch 16] [--rounds 20] [--device cuda]
        [--memory] [--output step_cost.json]

All contestants take turns, a few steps each, in one process on one thread; the figures are medians
over the rounds of ratios within a round, so that a machine that is slow for a while is slow for
all. Time is the process's CPU time; on a GPU, time until it is done. The batch is made beforehand:
digits, or noise for the ResNets, whose weights are random and whose batch norm is frozen, as the
field trains them. Channels are innermost in memory, as in a run; the released codes get theirs as
their loaders stack them.

ERM here is torch's default Adam after one pass. A floor is the bare forward and backward passes
that an algorithm needs, and nothing else. The released codes' way: benchmarks/released_steps.py.
`channels_last` is a run's option of that name, against passes with the same option. --memory adds
the most that tensors take at a time beyond what they take in ERM, in copies of the parameters.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, replace

import torch

from benchmarks.peak_memory import peak_bytes
from benchmarks.step_contestants import (
    CASES,
    Case,
    Contestant,
    asked,
    batch_of,
    contestants_of,
    model_of,
    options,
    said,
    step_of,
    timed,
)
from benchmarks.turns import aligned, ratio, taken, write
from datasets.batches import DomainBatch


@dataclass(frozen=True)
class Row:
    """A step's cost: milliseconds, and ratios of times.

    outside_to_released: what is left when the floor is taken off, against the same of the
    released code's way. None where that way is not written here. extra_copies: peak memory beyond
    that of ERM, in copies of the parameters.
    """

    case: str
    name: str
    milliseconds: float
    to_erm: float
    to_floor: float
    to_released: float | None
    outside_to_released: float | None
    extra_copies: float | None


def compare(title: str, case: Case, device: torch.device, memory: bool = False) -> list[Row]:
    """The rows of one case."""
    batch = batch_of(case, device)
    contestants = contestants_of(case)
    copies = extra_copies(contestants, case, batch) if memory else {}
    steps = {c: step_of(c, model_of(c, case, batch), batch) for c in contestants}
    turns = {c: timed(step, case.steps, device) for c, step in steps.items()}
    seconds = taken(turns, case.rounds, warm_up=2)

    def beyond_floor(contestant: Contestant) -> list[float]:
        bare = seconds[Contestant("bare", channels_last=contestant.channels_last)]
        pairs = zip(seconds[contestant], bare, strict=True)
        return [whole - contestant.passes * one for whole, one in pairs]

    rows = []
    for contestant, values in seconds.items():
        if contestant.way == "bare":
            continue
        outside = beyond_floor(contestant)
        floor = [whole - rest for whole, rest in zip(values, outside, strict=True)]
        released = Contestant("released", contestant.algorithm)
        compared = contestant.way == "steppe" and released in seconds
        rows.append(
            Row(
                title,
                contestant.name,
                1000 * statistics.median(values),
                ratio(values, seconds[Contestant("released", "ERM")]),
                ratio(values, floor),
                ratio(values, seconds[released]) if compared else None,
                ratio(outside, beyond_floor(released)) if compared else None,
                copies.get(contestant),
            )
        )
    return rows


def extra_copies(
    contestants: list[Contestant], case: Case, batch: DomainBatch
) -> dict[Contestant, float]:
    """Peak memory of two steps, model and all, beyond that of ERM: in copies of the parameters."""

    def peak(contestant: Contestant) -> int:
        def work() -> None:
            step = step_of(contestant, model_of(contestant, case, batch), batch)
            step()
            step()

        return peak_bytes(work, batch.x.device)

    erm = Contestant("steppe", "ERM")
    of_erm = peak(erm)
    copy = sum(p.numel() * p.element_size() for p in model_of(erm, case, batch).parameters())
    return {c: (peak(c) - of_erm) / copy for c in contestants if c.way != "bare"}


def table(rows: list[Row]) -> str:
    head = "case", "algorithm", "ms", "/ ERM", "/ floor", "/ released", "outside / released"
    lines: list[tuple[str, ...]] = [(*head, "extra copies")]
    for row in rows:
        ratios = row.to_erm, row.to_floor, row.to_released, row.outside_to_released
        cells = ["" if value is None else f"{value:.2f}" for value in (*ratios, row.extra_copies)]
        lines.append((row.case, row.name, f"{row.milliseconds:.2f}", *cells))
    return "\n".join(aligned(lines, left=2))


def verdict(rows: list[Row], goal: float) -> str:
    """SAGM's best way of running against its goal."""
    best = min(
        (row for row in rows if row.name.startswith("SAGM") and row.to_released is not None),
        key=lambda row: row.to_released or 0.0,
    )
    met = "met" if (best.to_released or 0.0) <= goal else "missed"
    return (
        f"{best.case}: {best.name} takes {best.to_released:.2f} x the released code's time; "
        f"goal {goal:.2f}, {met}"
    )


def main() -> None:
    parser = options(__doc__, [*CASES])
    parser.add_argument("--algorithms", nargs="+", help="in place of each case's own")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    verdicts = []
    for title in arguments.models:
        case = asked(title, arguments)
        case = replace(case, algorithms=tuple(arguments.algorithms or case.algorithms))
        own = compare(title, case, arguments.device, arguments.memory)
        if case.goal is not None and "SAGM" in case.algorithms:
            verdicts.append(verdict(own, case.goal))
        rows += own
    print(table(rows), *verdicts, sep="\n")
    write(arguments.output, **said(arguments), rows=[asdict(row) for row in rows])


if __name__ == "__main__":
    main()
