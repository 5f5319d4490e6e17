"""What leave-one-domain-out cross-validation as an objective is refused with."""

from __future__ import annotations

from typing import Any

import pytest

import datasets
from datasets import Description, Entry
from search.checks.load_sweep import checked
from tests.search.refused import SWEEP, the_problem


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    search = {"objective": "leave-one-domain-out", **changes.get("search", {})}
    return {**SWEEP, **changes, "search": search}


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"training": {"averaging": "swa"}}, "training.averaging", "folds step by step"),
        ({"algorithms": ["SAGM", "SAGM+SWAD"]}, "algorithms[1]", "swad has one result at the end"),
        (
            {"training": {"flatness": "sharpness"}},
            "training.flatness",
            "where training-domain validation is best",
        ),
        ({"search": {"keep_weights": "best"}}, "search.keep_weights", "choose last, or remove it"),
        ({"search": {"grace_steps": 600}}, "search.grace_steps", "stops trials after a fold"),
        ({"search": {"compare_at": "passes"}}, "search.compare_at", "stops trials after a fold"),
    ],
)
def test_what_has_no_folds_is_refused(changes, key, reason):
    line = the_problem(**changed(changes))
    assert line.startswith(key)
    assert reason in line


def test_what_goes_with_folds_is_accepted():
    for changes in (
        {},
        {"search": {"keep_weights": "last", "scheduler": "hyperband"}},
        {"training": {"evaluations": "all"}},
    ):
        assert checked(changed(changes), "sweep.yaml").search.objective == "leave-one-domain-out"


@pytest.mark.parametrize(
    ("domains", "algorithms", "key", "reason"),
    [
        (2, ["ERM"], "search.objective", "train on the others, but Few has 1"),
        (3, ["ERM", "DISAM"], "algorithms[1]", "a fold of leave-one-domain-out on Few trains on 1"),
    ],
)
def test_too_few_domains_are_refused(monkeypatch, domains, algorithms, key, reason):
    names = tuple("abc"[:domains])
    few = Entry(Description(names, 2, "Few.", "A test."), lambda root, reading: None)
    monkeypatch.setitem(datasets.DATASETS, "Few", few)
    line = the_problem(**changed({"dataset": {"name": "Few"}, "algorithms": algorithms}))
    assert line.startswith(key)
    assert reason in line
    checked(changed({"algorithms": algorithms}), "sweep.yaml")
