"""The bill of a sweep, or of what is left of a run. Nothing is written into the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import pandas as pd
import torch

from datasets.domain_dataset import DomainDataset
from search.driver.bill import (
    Bill,
    TrialBill,
    bills,
    dear_lines,
    first_line,
    from_rates,
    number,
)
from search.driver.cluster import own_cpus
from search.driver.known_images import KnownImages, decoded_bytes, look
from search.driver.opening import open_run
from search.driver.preparing import Prepared, check, prepare, refusing
from search.driver.trial_cost import settings
from search.results.loading import read_sweep
from search.run import tables
from search.run.run_folder import SWEEP, RunFolder
from search.study.plan import StudyPlan, device
from search.study.study import max_trials
from search.sweep import config_errors
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Sweep
from training.timing import Timing, time_run

Key = tuple[str, str]  # dataset, algorithm


@dataclass(frozen=True)
class Planned:
    """The bill of a sweep on this machine.

    ended: trials that the run has. workers: trials at a time; None where the hours are not known.
    cpus: of this machine. undecoded: bytes of the images that are still to be decoded, and their
    number. notes: what the bill could not know, or took from elsewhere.
    """

    sweep: Sweep
    bill: Bill
    ended: int
    workers: int | None
    cpus: int
    undecoded: tuple[int, int]
    notes: Sequence[str]

    @property
    def pace(self) -> float:
        """The share of its time that a worker would compute here, beside the other processes.

        These are as many as left a single process so much (Bill.busy).
        """
        busy = self.bill.busy
        if busy > 0.9:
            return 1.0
        others = self.cpus / busy - 1
        return min(self.cpus / (others + (self.workers or 1)), busy)


def plan_sweep(
    sweep: Sweep,
    folder: RunFolder,
    source: str,
    overridden: Collection[config_errors.KeyPath] = (),
    like: str | None = None,
) -> Planned:
    """The bill of a sweep that would be launched in a folder; what is there is paid.

    source, overridden: as of `launch`. like: an earlier run, of another sweep perhaps, whose trials
    say how long a pass takes. Raises SteppeError as `launch` does before the first trial, but for
    images that are not there.
    """
    opened = open_run(sweep, folder)
    refuse = refusing(source, overridden)
    images = {name: look(one) for name, one in by_dataset(opened.sweep).items()}
    if all(own.there for own in images.values()):
        planned = prepare(opened.sweep, folder, opened.new, refuse).plans
    else:
        there = [own.dataset for own in images.values()]
        planned, *_ = check(opened.sweep, folder, opened.new, refuse, lambda _: there)
    notes = [own.note for own in images.values() if own.note]
    counts = {name: own.counts for name, own in images.items()}
    model = opened.sweep.model.name
    rates = _rates(RunFolder.existing(like), model) if like else {}
    if opened.written is not None:
        rates |= _rates(folder, model)
    keys = {(p.study.dataset, p.study.algorithm): p for p in reversed(list(planned.values()))}
    unknown = [key for key in keys if key not in rates]
    timed, workers = {}, _workers(opened.sweep)
    if workers is None and unknown:
        needs = opened.sweep.resources
        notes.append(
            f"A trial takes resources.cpu: {needs.cpu:g} and resources.gpu: {needs.gpu}, which "
            "this machine has not: the hours are not known; ask there, or name a run from there "
            "with --like"
        )
    elif unknown:
        timed = {key: _time(keys[key], images[key[0]].dataset) for key in unknown}
        notes += _about_timing(timed, images)
    notes += _about_the_count(opened.sweep, bool(timed))
    found = from_rates(bills(planned, _trials(opened.sweep, planned), counts, timed), rates)
    if opened.written is not None:
        found = _left(found, folder)
    ended = sum(trial.left == 0 for trial in found)
    known = not unknown or bool(timed)
    undecoded = sum(own.undecoded for own in images.values())
    return Planned(
        opened.sweep,
        Bill(found, counts, timed),
        ended,
        (workers or 1) if known else None,
        own_cpus(),
        (decoded_bytes(opened.sweep, images), undecoded),
        notes,
    )


def in_advance(prepared: Prepared) -> list[str]:
    """What a launch says of its cost, without measuring anything."""
    counts = {d.name: {domain.name: len(domain) for domain in d.domains} for d in prepared.datasets}
    found = bills(prepared.plans, _trials(prepared.sweep, prepared.plans), counts, {})
    bill = Bill(found, counts)
    whole = bill.whole
    over_seeds = prepared.sweep.search.objective_over == "seeds"
    stopped = "or left untrained with some seeds" if over_seeds else ""
    return [
        f"{first_line(prepared.sweep.name, bill)}: {number(whole.steps)} steps, "
        f"{number(whole.passes)} passes, {number(whole.evaluations)} evaluations if none is "
        f"stopped {stopped}".rstrip()
        + "; `python -m search plan` measures the hours",
        *dear_lines(bill),
    ]


def _workers(sweep: Sweep) -> int | None:
    """How many trials this machine runs at a time; None if it lacks the device."""
    needs = {"cpu": (sweep.resources.cpu, own_cpus())}
    if device(sweep) == "cuda":
        if not torch.cuda.is_available():
            return None
        needs["gpu"] = (sweep.resources.gpus, torch.cuda.device_count())
    fit = [int(there / need + 1e-9) for need, there in needs.values()]
    return min(fit) or None


def _trials(sweep: Sweep, planned: Mapping[str, StudyPlan]) -> dict[str, int]:
    """The most trials that each study may have."""
    own = {plan.study: plan.trials for plan in planned.values()}
    reduced = max_trials(own, sweep.seeds, sweep.search.seed_reduction)
    return {study.id: count for study, count in reduced.items()}


def _time(plan: StudyPlan, dataset: DomainDataset) -> Timing:
    run = plan.trial(0, settings(plan, 0)).run
    return time_run(run, dataset, max(int(plan.resources.cpu), 1))


def _about_timing(timed: Mapping[Key, Timing], images: Mapping[str, KnownImages]) -> list[str]:
    notes = []
    if any(not images[dataset].there for dataset, _ in timed):
        notes.append("Steps were timed on random images")
    scaled = {f"{a} on {d}": t for (d, a), t in timed.items() if t.scaled_from is not None}
    for name, timing in islice(scaled.items(), 1):
        notes.append(
            f"Steps of {len(scaled)} of {len(timed)} methods, such as {name}, are long here; they "
            f"were timed with {timing.scaled_from} of {timing.batch} samples of each domain"
        )
    return notes


def _about_the_count(sweep: Sweep, timed: bool) -> list[str]:
    """What may come out otherwise than the bill has it. timed: whether steps were timed."""
    trainings, gpu = [one.training for one in by_dataset(sweep).values()], sweep.resources.gpu
    notes = []
    if sweep.training.retrain != "none":
        notes.append(
            "The second stage (training.retrain) is counted as long as the first; without an "
            "average of the weights it ends where the first was selected"
        )
    if any(one.lr_schedule == "plateau" for one in trainings):
        notes.append("A plateau (training.lr_schedule) may end a run before training.steps")
    if timed and device(sweep) == "cuda" and (gpu == "auto" or sweep.resources.gpus < 1):
        notes.append(
            f"resources.gpu is {gpu}; steps were timed alone on a GPU, and that trials which share "
            "one slow each other down is not counted"
        )
    if any(one.flatness != "none" for one in trainings):
        notes.append("What training.flatness measures is not counted")
    return notes


def _rates(folder: RunFolder, model: str) -> dict[Key, float]:
    """Seconds of a pass of the model in a run, by dataset and algorithm, evaluations included."""
    read_sweep(folder)
    trials = tables.read_trials(folder)
    if "passes" not in trials or trials.empty:
        return {}
    paid = trials[(trials["passes"] > 0) & (trials["model"] == model)]
    sums = paid.groupby(["dataset", "algorithm"])[["seconds", "passes"]].sum().reset_index()
    return {
        (str(row["dataset"]), str(row["algorithm"])): float(row["seconds"] / row["passes"])
        for row in sums.to_dict("records")
    }


def _left(found: Sequence[TrialBill], folder: RunFolder) -> list[TrialBill]:
    """The bills of trials with what the run has not paid yet."""
    if not folder.exists(SWEEP):
        return list(found)
    ended = {*tables.read_trials(folder)["trial"]}
    evaluations = tables.read_evaluations(folder)
    at_work = evaluations[~evaluations["trial"].isin(ended)]
    spent = _spent(at_work)
    left = []
    for bill in found:
        name = f"{bill.plan.study.id}.{bill.number}"
        share = min(spent.get(name, 0.0) / bill.cost.passes, 1.0) if bill.cost.passes else 0.0
        left.append(replace(bill, left=0.0 if name in ended else 1.0 - share))
    return left


def _spent(evaluations: pd.DataFrame) -> dict[str, float]:
    """Passes of trials that have not ended, folds included, as of their last evaluations."""
    if evaluations.empty or "passes" not in evaluations:
        return {}
    plain = evaluations[["trial", "fold", "passes"]].astype({"trial": object, "fold": object})
    each = plain.fillna({"fold": ""}).groupby(["trial", "fold"])["passes"].max()
    return {str(trial): float(passes) for trial, passes in each.groupby("trial").sum().items()}
