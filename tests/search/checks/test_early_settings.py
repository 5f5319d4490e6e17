"""The keys that carry the best settings of one study, or one run, to another."""

from pathlib import Path

import pytest

from search.checks.load_sweep import checked
from search.study.resolved_sweep import as_yaml, differences
from search.yaml_file import parse
from tests.search.refused import SWEEP, problems, the_problem


def warm(written):
    return checked({**SWEEP, "search": {"warm_start": written}}, "sweep.yaml").search.warm_start


def test_a_warm_start_is_a_run_or_several_or_says_more():
    one = warm("runs/x")
    assert (one.runs, one.settings, one.held_out) == ((str(Path("runs/x").absolute()),), 3, "same")
    assert warm(["/a", "s3://bucket/b"]).runs == ("/a", "s3://bucket/b")
    assert warm({"runs": ["/a"], "settings": 1}).settings == 1
    assert warm(["/a"]) == warm({"runs": ["/a"]})


def test_what_is_written_down_is_the_same_sweep_again():
    search = {"warm_start": "runs/x", "share": "domains", "seed_reduction": 3}
    sweep = checked({**SWEEP, "search": search}, "sweep.yaml")
    again = checked(parse(as_yaml(sweep).encode(), "again.yaml"), "again.yaml")
    assert again.search.warm_start == sweep.search.warm_start
    assert differences(sweep, again) == []


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
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
def test_what_cannot_be_is_said(search, sentence):
    assert sentence in the_problem(search=search)


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
