"""The keys of `search`: what each takes, and what it is refused with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import datasets
from datasets import Description, Entry
from search.checks.load_sweep import checked
from search.study.resolved_sweep import as_yaml, differences, resolved
from search.sweep.objectives import OBJECTIVE_NAMES
from search.sweep.schema import Sweep
from search.sweep.search_keys import Search
from search.yaml_file import parse
from tests.search.refused import SWEEP, problems, the_problem

TWO = ["training-domain", "worst-source-domain"]
ONE_STUDY = {"algorithms": ["SAGM"], "held_out": ["0"], "seeds": [0]}


def searched(**search: object) -> Sweep:
    return checked({**SWEEP, "search": search}, "sweep.yaml")


def with_folds(changes: dict[str, Any]) -> dict[str, Any]:
    search = {"objective": "leave-one-domain-out", **changes.get("search", {})}
    return {**SWEEP, **changes, "search": search}


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ({"objective": "training"}, "search.objective is 'training'; did you mean training-domain"),
        ({"objective": 3}, "search.objective is 3; there are: training-domain, worst-source"),
        ({"objective": ["last-step"]}, "search.objective is [last-step]; a list needs two differ"),
        ({"objective": ["last-step"] * 2}, "search.objective is [last-step, last-step]; a list"),
        ({"objective": [*TWO, "last-step"]}, "search.objective is [training-domain, worst-source"),
        ({"objective": "oracle"}, "search.objective is 'oracle', which sees the held-out domain"),
        ({"objective": ["last-step", "oracle-best-step"]}, "search.objective is 'oracle-best-st"),
        ({"allow_oracle": True}, "search.allow_oracle is true but has no effect: the objective do"),
        ({"objective": TWO, "scheduler": "asha"}, "search.scheduler is 'asha', which compares"),
        ({"objective": TWO, "sampler": "cmaes"}, "search.sampler is 'cmaes', which cannot search"),
        ({"objective": TWO, "grace_steps": 100}, "search.grace_steps is 100 but has no effect"),
        ({"objective": [*TWO[:1], "leave-one-domain-out"]}, "search.objective has leave-one-dom"),
        ({"compare_at": "passes", "scheduler": "median"}, "search.compare_at is passes, but med"),
        ({"compare_at": "passes", "scheduler": "none"}, "search.compare_at is 'passes' but has n"),
        ({"compare_at": "cost"}, "search.compare_at is 'cost'; there are: steps, passes"),
        ({"warm_start": []}, "search.warm_start.runs is []; it needs at least one entry"),
        ({"warm_start": {"settings": 2}}, "search.warm_start.runs is missing; add it"),
        ({"warm_start": 5}, "search.warm_start is 5; name a run, such as runs/first, or a list"),
        ({"warm_start": ["/a", "/a"]}, "/a comes twice; keep one"),
        ({"warm_start": [1]}, "search.warm_start.runs[0] is 1; it must be text"),
        ({"share": "domain"}, "search.share is 'domain'; did you mean domains?"),
        ({"seed_reduction": 1}, "search.seed_reduction is 1; it must be at least 2"),
        ({"seed_reduction": 2, "share": "seeds"}, "has no effect: with search.seed_reduction"),
        ({"terminator": "stagnation", "seed_reduction": 2}, "does not go with"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key_and_the_way_out(search, sentence):
    assert sentence in the_problem(search=search)


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ({"budget": {"gpu_hours": 2}}, "search.budget.gpu_hours has no effect: resources.gpu is 0"),
        (
            {"study_budget": {"passes": 5}, "budget": {"passes": 5}},
            "search.study_budget.passes is 5 but has no effect: the whole sweep may spend 5",
        ),
        (
            {"budget": {"trials": 10}},
            "search.budget.trials is 10 but has no effect: the sweep has 10; remove it",
        ),
        ({"study_budget": {"trials": 5}}, "search.study_budget.trials is not a key"),
        ({"budget": {"wall_hours": 0}}, "search.budget.wall_hours is 0; it must be above 0"),
        ({"budget": {"trials": 2.5}}, "search.budget.trials is 2.5; it must be a whole number"),
        ({"budget": {"hours": 2}}, "search.budget.hours is not a key"),
        ({"budget": 3}, "search.budget is 3; it must be a mapping"),
        ({"patience": 3}, "search.patience is 3 but has no effect: search.terminator is none"),
        (
            {"terminator": "stagnation", "patience": 10},
            "search.terminator has no effect: no study of 10 trials would be stopped before it had "
            "tried search.patience, 10, without a better one; lower that, or remove it",
        ),
        (
            {"terminator": "stagnation", "sampler": "tpe", "patience": 6},
            "tried 4 at random and search.patience, 6, without a better one",
        ),
        (
            {
                "terminator": "stagnation",
                "sampler": "grid",
                "space": {"lr": 1e-3, "dropout": {"choice": [0, 0.1]}, "weight_decay": 0,
                          "rho": 0.1, "alpha": 0.1},
            },
            "search.terminator has no effect: a grid visits all its points; remove it",
        ),
    ],
)  # fmt: skip
def test_a_budget_or_terminator_of_ten_trials_that_could_never_act_is_refused(search, sentence):
    assert sentence in the_problem(**ONE_STUDY, search={"trials": 10, **search})


def test_budgets_that_can_act_are_taken():
    found = searched(
        trials=10,
        budget={"trials": 9, "wall_hours": 12, "passes": 1e6, "cpu_hours": 3},
        study_budget={"passes": 1e5},
        terminator="stagnation",
    ).search
    assert found.budget.wall_hours == 12
    assert found.patience is None


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
    line = the_problem(**with_folds(changes))
    assert line.startswith(key)
    assert reason in line


def test_what_goes_with_folds_is_accepted():
    for changes in (
        {},
        {"search": {"keep_weights": "last", "scheduler": "hyperband"}},
        {"training": {"evaluations": "all"}},
    ):
        assert checked(with_folds(changes), "sweep.yaml").search.objective == "leave-one-domain-out"


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
    line = the_problem(**with_folds({"dataset": {"name": "Few"}, "algorithms": algorithms}))
    assert line.startswith(key)
    assert reason in line
    checked(with_folds({"algorithms": algorithms}), "sweep.yaml")


def test_two_objectives_have_no_scheduler_unless_one_is_named():
    sweep = searched(objective=TWO)
    assert (sweep.search.objectives, sweep.search.scheduler) == (tuple(TWO), "none")
    assert Search().scheduler == "asha"
    found = resolved(sweep)["search"]
    assert (found["objective"], found["scheduler"]) == (TWO, "none")
    assert "objective: [training-domain, worst-source-domain]" in as_yaml(sweep)


def test_two_objectives_are_refused_whole_where_several_keys_are_wrong():
    found = problems(search={"objective": TWO, "scheduler": "asha", "sampler": "cmaes"})
    assert [line.split(" is ")[0] for line in found] == ["search.sampler", "search.scheduler"]


def test_an_oracle_is_accepted_where_it_is_asked_for():
    found = searched(objective="oracle", allow_oracle=True).search
    assert found.objectives == ("oracle",)


def test_the_schema_has_every_name():
    one, two = Search.model_json_schema()["properties"]["objective"]["anyOf"]
    assert one["enum"] == two["items"]["enum"] == list(OBJECTIVE_NAMES)


def test_a_warm_start_is_a_run_or_several_or_says_more():
    def warm(written):
        return searched(warm_start=written).search.warm_start

    one = warm("runs/x")
    assert (one.runs, one.settings, one.held_out) == ((str(Path("runs/x").absolute()),), 3, "same")
    assert warm(["/a", "s3://bucket/b"]).runs == ("/a", "s3://bucket/b")
    assert warm({"runs": ["/a"], "settings": 1}).settings == 1
    assert warm(["/a"]) == warm({"runs": ["/a"]})


def test_settings_of_others_that_are_written_down_are_the_same_sweep_again():
    sweep = searched(warm_start="runs/x", share="domains", seed_reduction=3)
    again = checked(parse(as_yaml(sweep).encode(), "again.yaml"), "again.yaml")
    assert again.search.warm_start == sweep.search.warm_start
    assert differences(sweep, again) == []


def test_what_would_do_nothing_is_said():
    assert "has no effect: there is one seed" in the_problem(search={"share": "seeds"}, seeds=[0])
    assert "has no effect: there is one seed" in the_problem(
        search={"seed_reduction": 3}, seeds=[0]
    )
    assert "has no effect: one domain is held out" in the_problem(
        search={"share": "domains"}, held_out=["0"]
    )
    choices = dict.fromkeys(("lr", "weight_decay", "dropout", "rho", "alpha", "lambda"), 0.05)
    for key, value in (("warm_start", "/a"), ("share", "seeds")):
        grid = {"sampler": "grid", "space": choices, key: value}
        assert "a grid visits all its points" in the_problem(search=grid)


def test_with_two_objectives_there_is_no_best_setting():
    two = {"objective": ["training-domain", "worst-source-domain"]}
    early = {"warm_start": "/a", "share": "domains", "seed_reduction": 2}
    found = problems(search={**two, **early})
    assert len(found) == 3
    assert all("needs one objective to say which settings are the best" in line for line in found)
