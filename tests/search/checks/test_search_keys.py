"""The keys of `search`, and `track`: what each takes, and what it is refused with."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.checks.load_sweep import checked
from search.study.resolved_sweep import as_yaml, differences, resolved
from search.sweep.objectives import OBJECTIVE_NAMES
from search.sweep.schema import Sweep
from search.sweep.search_keys import Search
from search.yaml_file import parse
from tests.search.refused import accepted, problems, the_problem

TWO = ["training-domain", "worst-source-domain"]
ONE_STUDY = {"algorithms": ["SAGM"], "held_out": ["0"], "seeds": [0]}
FOLDS = {"search.objective": "leave-one-domain-out"}


def searched(**search: object) -> Sweep:
    return accepted(search=search)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("search.objective", "training", " is 'training'; did you mean training-domain"),
        ("search.objective", 3, " is 3; there are: training-domain, worst-source"),
        ("search.objective", ["last-step"], " is [last-step]; a list needs two different"),
        ("search.objective", ["last-step"] * 2, " is [last-step, last-step]; a list"),
        ("search.objective", [*TWO, "last-step"], " is [training-domain, worst-source"),
        ("search.objective", "oracle", " is 'oracle', which sees the held-out domain"),
        ("search.objective", ["last-step", "oracle-best-step"], " is 'oracle-best-step', which"),
        ("search.objective", [TWO[0], "leave-one-domain-out"], " has leave-one-domain-out among"),
        ("search.allow_oracle", True, " is true but has no effect: the objective does"),
        ("search.compare_at", "cost", " is 'cost'; there are: steps, passes"),
        ("search.warm_start", [], ".runs is []; it needs at least one entry"),
        ("search.warm_start", {"settings": 2}, ".runs is missing; add it"),
        ("search.warm_start", 5, " is 5; name a run, such as runs/first, or a list"),
        ("search.warm_start", ["/a", "/a"], ".runs is [/a, /a]; /a comes twice; keep one"),
        ("search.warm_start", [1], ".runs[0] is 1; it must be text"),
        ("search.share", "domain", " is 'domain'; did you mean domains?"),
        ("search.seed_reduction", 1, " is 1; it must be at least 2"),
        ("search.budget", {"gpu_hours": 2}, ".gpu_hours has no effect: resources.gpu is 0"),
        ("search.budget", {"wall_hours": 0}, ".wall_hours is 0; it must be above 0"),
        ("search.budget", {"trials": 2.5}, ".trials is 2.5; it must be a whole number"),
        ("search.budget", {"hours": 2}, ".hours is not a key"),
        ("search.budget", 3, " is 3; it must be a mapping"),
        ("search.study_budget", {"trials": 5}, ".trials is not a key"),
        ("search.patience", 3, " is 3 but has no effect: search.terminator is none"),
        ("track", "tensorbord", " is 'tensorbord'; did you mean tensorboard?"),
        ("track", ["mlflow", "wb"], " is [mlflow, wb]; there are: tensorboard, mlflow, wandb"),
        ("track", 3, " is 3; there are: tensorboard, mlflow, wandb"),
        ("track", ["mlflow", "mlflow"], " is [mlflow, mlflow]; mlflow comes twice"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key_and_the_way_out(key, value, told):
    assert the_problem(**{key: value}).startswith(key + told)


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"objective": TWO, "scheduler": "asha"}, "scheduler is 'asha', which compares"),
        ({"objective": TWO, "sampler": "cmaes"}, "sampler is 'cmaes', which cannot search"),
        ({"objective": TWO, "grace_steps": 100}, "grace_steps is 100 but has no effect"),
        ({"compare_at": "passes", "scheduler": "median"}, "compare_at is passes, but median"),
        ({"compare_at": "passes", "scheduler": "none"}, "compare_at is 'passes' but has no effect"),
        ({"seed_reduction": 2, "share": "seeds"}, "share is 'seeds' but has no effect: with"),
        ({"terminator": "stagnation", "seed_reduction": 2}, "terminator does not go with"),
    ],
)
def test_what_does_not_go_together_is_refused(search, told):
    assert the_problem(search=search).startswith(f"search.{told}")


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ({"share": "seeds"}, "share is 'seeds' but has no effect: there is one seed"),
        ({"seed_reduction": 3}, "seed_reduction is 3 but has no effect: there is one seed"),
        ({"share": "domains"}, "share is 'domains' but has no effect: one domain is held out"),
        ({"budget": {"trials": 10}}, "budget.trials is 10 but has no effect: the sweep has 10"),
        (
            {"study_budget": {"passes": 5}, "budget": {"passes": 5}},
            "study_budget.passes is 5 but has no effect: the whole sweep may spend 5",
        ),
        (
            {"terminator": "stagnation", "patience": 10},
            "terminator has no effect: no study of 10 trials would be stopped before it had tried "
            "search.patience, 10, without a better one; lower that",
        ),
        (
            {"terminator": "stagnation", "sampler": "tpe", "patience": 6},
            "terminator has no effect: no study of 10 trials would be stopped before it had tried "
            "4 at random and search.patience, 6",
        ),
    ],
)
def test_what_could_never_act_on_one_study_of_ten_trials_is_refused(search, told):
    assert the_problem(**ONE_STUDY, search={"trials": 10, **search}).startswith(f"search.{told}")


@pytest.mark.parametrize(
    ("key", "value"), [("warm_start", "/a"), ("share", "seeds"), ("terminator", "stagnation")]
)
def test_a_grid_visits_all_its_points_in_any_case(key, value):
    points = dict.fromkeys(("lr", "weight_decay", "rho", "alpha"), 0.05)
    grid = {"sampler": "grid", "space": points | {"dropout": {"choice": [0, 0.1]}}}
    line = the_problem(algorithms=["SAGM"], search={**grid, key: value})
    assert line.startswith(f"search.{key} ")
    assert "a grid visits all its points" in line


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
    ("key", "value", "reason"),
    [
        ("training.averaging", "swa", "folds step by step"),
        ("training.flatness", "sharpness", "where training-domain validation is best"),
        ("algorithms", ["SAGM", "SAGM+SWAD"], "swad has one result at the end"),
        ("search.keep_weights", "best", "choose last, or remove it"),
        ("search.grace_steps", 600, "stops trials after a fold"),
        ("search.compare_at", "passes", "stops trials after a fold"),
    ],
)
def test_what_has_no_folds_is_refused(key, value, reason):
    line = the_problem(**FOLDS, **{key: value})
    assert line.startswith(key)
    assert reason in line


def test_what_goes_with_folds_is_accepted():
    accepted(**FOLDS)
    accepted(**FOLDS, **{"search.keep_weights": "last", "search.scheduler": "hyperband"})
    accepted(**FOLDS, training={"evaluations": "all"})


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


def test_with_two_objectives_there_is_no_best_setting():
    early = {"warm_start": "/a", "share": "domains", "seed_reduction": 2}
    found = problems(search={"objective": TWO, **early})
    assert len(found) == 3
    assert all("needs one objective to say which settings are the best" in line for line in found)


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


def test_a_sweep_has_one_tracker_or_several_and_goes_on_with_others():
    one, several = accepted(track="mlflow"), accepted(track=["wandb", "tensorboard"])
    assert (one.track, several.track) == (("mlflow",), ("wandb", "tensorboard"))
    assert resolved(one)["track"] == ["mlflow"]
    assert accepted().track == ()
    assert differences(one, several) == []
