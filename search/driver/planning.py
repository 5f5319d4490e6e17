"""The bill of a sweep, or of what is left of a run. Nothing is written into the run."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import pandas as pd
import torch

from datasets.domain_dataset import DomainDataset
from search.driver.bill import Bill, Method, TrialBill, costly_lines, first_line, number
from search.driver.known_images import KnownImages, decoded_bytes, look
from search.driver.local_ray import own_cpus
from search.driver.opening import open_run
from search.driver.preparing import Prepared, check, prepare, refusing
from search.driver.trial_cost import EACH_TRIAL, Cost, costs_of, probe_cost, probes_of, settings
from search.results.loading import read_sweep
from search.run import tables
from search.run.columns import FROZEN
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan, device
from search.study.study import max_trials
from search.sweep import config_errors
from search.sweep.per_dataset import by_dataset
from search.sweep.schema import Sweep
from training.timing import Timing, time_run


def plan_sweep(
    sweep: Sweep,
    folder: RunFolder,
    source: str,
    overridden: Collection[config_errors.KeyPath] = (),
    like: str | None = None,
) -> Bill:
    """The bill of a sweep that would be launched in a folder; what is there is paid.

    source, overridden: as of `launch`. like: an earlier run, of another sweep perhaps, whose trials
    say how long a pass takes. Raises SteppeError as `launch` does before the first trial, but for
    images that are not there.
    """
    opened = open_run(sweep, folder)
    sweep = opened.sweep
    refuse = refusing(source, overridden)
    images = {name: look(one) for name, one in by_dataset(sweep).items()}
    if all(own.there for own in images.values()):
        plans = prepare(sweep, folder, opened.new, refuse).plans
    else:
        there = [own.dataset for own in images.values()]
        plans, *_ = check(sweep, folder, opened.new, refuse, lambda _: there)
    rates = _rates(RunFolder.existing(like), sweep.model.name) if like else {}
    if opened.written is not None:
        rates |= _rates(folder, sweep.model.name)
    methods = {(p.study.dataset, p.study.algorithm): p for p in reversed(list(plans.values()))}
    unknown = [method for method in methods if method not in rates]
    workers = _workers(sweep)
    timed = {}
    if workers is not None:
        timed = {method: _time(methods[method], images[method[0]].dataset) for method in unknown}
    counts = {name: own.counts for name, own in images.items()}
    trials = _trials(sweep, plans, counts, timed, rates)
    if opened.written is not None:
        trials = _without_paid(trials, folder)
    undecoded = sum(own.undecoded for own in images.values())
    hours_known = workers is not None or not unknown
    return Bill(
        sweep=sweep,
        trials=trials,
        images=counts,
        timed=timed,
        workers=(workers or 1) if hours_known else None,
        pace=_pace(timed.values(), workers or 1),
        undecoded=(decoded_bytes(sweep, images), undecoded),
        notes=[*_notes(sweep, images, timed, hours_known)],
    )


def in_advance(prepared: Prepared) -> list[str]:
    """What a launch says of its cost, without measuring anything."""
    sweep = prepared.sweep
    images = {d.name: {domain.name: len(domain) for domain in d.domains} for d in prepared.datasets}
    bill = Bill(sweep, _trials(sweep, prepared.plans, images), images)
    over_seeds = sweep.search.objective_over == "seeds"
    stopped = "or left untrained with some seeds" if over_seeds else ""
    return [
        f"{first_line(bill)}: {number(bill.whole.steps)} steps, "
        f"{number(bill.whole.passes)} passes, {number(bill.whole.evaluations)} evaluations if none "
        f"is stopped {stopped}".rstrip()
        + "; `python -m search plan` measures the hours",
        *costly_lines(bill),
    ]


def _trials(
    sweep: Sweep,
    plans: Mapping[str, StudyPlan],
    images: Mapping[str, Mapping[str, int]],
    timed: Mapping[Method, Timing] | None = None,
    rates: Mapping[Method, float] | None = None,
) -> list[TrialBill]:
    """The bill of each trial that these plans may have; a probe is paid by the first that needs it.

    rates: seconds of a pass, where they are known.
    """
    first = {plan.study: plan.trials for plan in plans.values()}
    held_out: dict[str, set[str]] = {}
    for study in first:
        held_out.setdefault(study.dataset, set()).add(study.held_out)
    most = max_trials(first, sweep.seeds, sweep.search.seed_reduction)
    costs: dict[tuple[str, str, str], list[Cost]] = {}  # which the studies of all seeds share
    probed = set[Hashable]()
    found = []
    for plan in plans.values():
        study = plan.study
        method = study.dataset, study.algorithm
        timing, rate = (timed or {}).get(method), (rates or {}).get(method)
        key = *method, study.held_out
        if len(costs.get(key, ())) < most[study]:
            sets = held_out[study.dataset]
            costs[key] = costs_of(plan, most[study], images[study.dataset], timing, sets)
        own = costs[key][: most[study]]
        probes = {*probes_of(plan, images[study.dataset])} - probed
        probed |= probes
        own[0] = sum((probe_cost(plan, timing) for _ in probes), own[0])
        if rate is not None:
            own = [replace(cost, seconds=cost.passes * rate + EACH_TRIAL) for cost in own]
        found += [TrialBill(plan, place, cost) for place, cost in enumerate(own)]
    return found


def _workers(sweep: Sweep) -> int | None:
    """How many trials this machine runs at a time; None if it lacks the device."""
    needs = {"cpu": (sweep.resources.cpu, own_cpus())}
    if device(sweep) == "cuda":
        if not torch.cuda.is_available():
            return None
        needs["gpu"] = (sweep.resources.gpus, torch.cuda.device_count())
    fit = [int(there / need + 1e-9) for need, there in needs.values()]
    return min(fit) or None


def _pace(timed: Collection[Timing], workers: int) -> float:
    """The share of its time that a worker would compute here, beside the other processes.

    The steps were timed in one process. From the share of that time in which it computed
    (Timing.busy) follows how many processes compete with it.
    """
    busy = fmean(timing.busy for timing in timed) if timed else 1.0
    if busy > 0.9:
        return 1.0
    cpus = own_cpus()
    others = cpus / busy - 1
    return cpus / (others + workers)


def _time(plan: StudyPlan, dataset: DomainDataset) -> Timing:
    (values,) = settings(plan, 1)
    return time_run(plan.trial(0, values).run, dataset, max(int(plan.resources.cpu), 1))


def _notes(
    sweep: Sweep,
    images: Mapping[str, KnownImages],
    timed: Mapping[Method, Timing],
    hours_known: bool,
) -> Iterator[str]:
    """What the bill could not know, and what may come out otherwise than it says."""
    yield from (own.note for own in images.values() if own.note)
    cpu, gpu = sweep.resources.cpu, sweep.resources.gpu
    if not hours_known:
        yield (
            f"A trial takes resources.cpu: {cpu:g} and resources.gpu: {gpu}, which this machine "
            "does not have: the hours are not known; run `plan` there, or name a run from there "
            "with --like"
        )
    if any(not images[dataset].there for dataset, _ in timed):
        yield "Steps were timed on random images"
    scaled = [(method, one) for method, one in timed.items() if one.scaled_from is not None]
    for (dataset, algorithm), timing in scaled[:1]:
        yield (
            f"Steps of {len(scaled)} of {len(timed)} methods, such as {algorithm} on {dataset}, "
            f"are long here; they were timed with {timing.scaled_from} of {timing.batch} samples "
            "of each domain"
        )
    trainings = [one.training for one in by_dataset(sweep).values()]
    if sweep.training.retrain != "none":
        yield (
            "The second stage (training.retrain) is counted as long as the first; without an "
            "average of the weights it ends where the first was selected"
        )
    if any(one.lr_schedule == "plateau" for one in trainings):
        yield "A plateau (training.lr_schedule) may end a run before training.steps"
    if timed and device(sweep) == "cuda" and (gpu == "auto" or sweep.resources.gpus < 1):
        yield (
            f"resources.gpu is {gpu}; steps were timed alone on a GPU, and that trials which share "
            "one slow each other down is not counted"
        )
    if any(one.flatness != "none" for one in trainings):
        yield "What training.flatness measures is not counted"


def _rates(folder: RunFolder, model: str) -> dict[Method, float]:
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


def _without_paid(trials: Sequence[TrialBill], folder: RunFolder) -> list[TrialBill]:
    """The bills of trials with the share that the run has not paid yet."""
    rows = tables.read_trials(folder)
    ended = {*rows.loc[rows["state"] != FROZEN, "trial"]}
    evaluations = tables.read_evaluations(folder)
    spent = _spent(evaluations[~evaluations["trial"].isin(ended)])
    left = []
    for bill in trials:
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
