"""Checks everything of a sweep that can be checked before its first trial."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets.domain_dataset import DomainDataset
from models.checkpoints import Taken
from search.checks.check_data import check_batches, check_data, try_model
from search.checks.open_datasets import open_datasets
from search.driver import warm_start, weights_origin
from search.driver.trackers import require
from search.errors import SteppeError
from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan, plans
from search.sweep import config_errors
from search.sweep.schema import Sweep

Refuse = Callable[[Sequence[config_errors.Problem]], None]


@dataclass(frozen=True)
class Prepared:
    """A sweep that has passed all checks, and what it works with.

    weights: what its model takes from a file. warm_start: what it takes from earlier runs, where
    that is not recorded yet.
    """

    sweep: Sweep
    plans: Mapping[str, StudyPlan]
    datasets: Sequence[DomainDataset]
    weights: Taken | None
    warm_start: Mapping[str, Any] | None
    weights_saw: Sequence[str]
    weights_known: bool


def prepare(sweep: Sweep, folder: RunFolder, new: bool, refuse: Refuse) -> Prepared:
    """Checks everything that can be checked before the first trial, and builds the datasets.

    new: whether it adds studies or trials to what the folder holds; what a run of an earlier
    version was asked for continues without new checks. Raises SteppeError.
    """
    planned, begin_with, found = check(sweep, folder, new, refuse, open_datasets)
    taken = try_model(sweep.model, found)
    origin = weights_origin.origin(sweep.model.name, sweep.model.weights)
    held_out: dict[str, dict[str, None]] = {}
    for plan in planned.values():
        held_out.setdefault(plan.study.dataset, {})[plan.study.held_out] = None
    saw = [
        why
        for dataset in found
        for why in weights_origin.seen(
            origin, sweep.model.weights, dataset, [*held_out[dataset.name]]
        )
    ]
    if saw and new and not sweep.search.allow_oracle:
        raise SteppeError(
            f"{saw[0]}: no domain generalization is measured so; hold out the domain that the "
            "weights have not seen, choose other weights, or set search.allow_oracle: true, and "
            "every table says so"
        )
    known = weights_origin.known_in_full(origin, found)
    return Prepared(sweep, planned, found, taken, begin_with, saw, known)


def check(
    sweep: Sweep,
    folder: RunFolder,
    new: bool,
    refuse: Refuse,
    images: Callable[[Sweep], Sequence[DomainDataset]],
) -> tuple[Mapping[str, StudyPlan], Mapping[str, Any] | None, Sequence[DomainDataset]]:
    """The checks that need no model: the plans, what they begin with, and the datasets.

    new: as of `prepare`. images: opens the datasets, or gives what stands in for them.
    """
    require(sweep.track)
    planned = plans(sweep)
    begin_with = warm_start.find(folder, planned)
    if new:
        refuse(check_batches(sweep))
    found = images(sweep)
    if new:
        refuse(check_data(sweep, planned, found))
    return planned, begin_with, found


def refusing(source: str, overridden: Collection[config_errors.KeyPath]) -> Refuse:
    """What raises the problems of a sweep file, if there are any, as a SteppeError."""

    def refuse(wrong: Sequence[config_errors.Problem]) -> None:
        if wrong:
            raise config_errors.config_error(source, list(wrong), overridden)

    return refuse
