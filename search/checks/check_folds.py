"""What leave-one-domain-out cross-validation as an objective needs, and what it excludes."""

from __future__ import annotations

from collections.abc import Iterator

import datasets
from search.space import algorithm_names
from search.study.folds import makes_folds
from search.study.study_space import averaging_of
from search.sweep.config_errors import Problem, show
from search.sweep.objectives import LEAVE_ONE_DOMAIN_OUT
from search.sweep.per_dataset import DatasetSweep
from training.algorithms import compares_domains


def check_folds(sweep: DatasetSweep) -> Iterator[Problem]:
    """Everything that folds cannot be made of; the algorithms must exist."""
    if not makes_folds(sweep.search) or sweep.dataset.name not in datasets.DATASETS:
        return
    name, training = sweep.dataset.name, sweep.training
    sources = len(datasets.describe(name, sweep.dataset.root).domains) - 1
    if sources < 2:
        yield Problem(
            ("search", "objective"),
            f"is {LEAVE_ONE_DOMAIN_OUT}, whose folds leave out a source domain and train on the "
            f"others, but {name} has {sources}; use training-domain or another dataset",
        )
    if training.averaging != "none":
        yield Problem(
            ("training", "averaging"),
            f"is {show(training.averaging)}, which has one result at the end of a run; "
            f"{LEAVE_ONE_DOMAIN_OUT} compares folds step by step; remove one of the two",
        )
    for index, algorithm in enumerate(sweep.algorithms):
        parts, own_average = algorithm_names.split(algorithm)
        if own_average is not None:
            yield Problem(
                ("algorithms", index),
                f"is {show(algorithm)}, and {averaging_of(sweep, algorithm)} has one result at the "
                f"end of a run; the objective {LEAVE_ONE_DOMAIN_OUT} compares folds step by step; "
                "remove it",
            )
        if sources == 2 and compares_domains(parts):
            yield Problem(
                ("algorithms", index),
                f"is {show(algorithm)}, which compares source domains and needs at least two, but "
                f"a fold of {LEAVE_ONE_DOMAIN_OUT} on {name} trains on 1; remove it or choose "
                "another objective",
            )
    if training.flatness != "none":
        yield Problem(
            ("training", "flatness"),
            f"is {show(training.flatness)}, which is measured where training-domain validation is "
            f"best, not where {LEAVE_ONE_DOMAIN_OUT} looks; remove it",
        )
    if sweep.search.keep_weights == "best":
        yield Problem(
            ("search", "keep_weights"),
            "is 'best', which keeps the weights of the best training-domain validation, not those "
            f"that {LEAVE_ONE_DOMAIN_OUT} selects; choose last, or remove it",
        )
