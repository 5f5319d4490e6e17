"""The objectives of a sweep file, and what they exclude."""

from __future__ import annotations

import pytest

from search.checks.load_sweep import checked
from search.study.resolved_sweep import as_yaml, resolved
from search.sweep.objectives import OBJECTIVE_NAMES
from search.sweep.search_keys import Search
from tests.search.refused import SWEEP, problems, the_problem

TWO = ["training-domain", "worst-source-domain"]


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
    ],
)
def test_what_cannot_be_is_refused_with_the_key_and_the_way_out(search, sentence):
    assert the_problem(search=search).startswith(sentence)


def test_two_objectives_have_no_scheduler_unless_one_is_named():
    sweep = checked({**SWEEP, "search": {"objective": TWO}}, "sweep.yaml")
    assert (sweep.search.objectives, sweep.search.scheduler) == (tuple(TWO), "none")
    assert Search().scheduler == "asha"
    found = resolved(sweep)["search"]
    assert (found["objective"], found["scheduler"]) == (TWO, "none")
    assert "objective: [training-domain, worst-source-domain]" in as_yaml(sweep)


def test_two_objectives_are_refused_whole_where_several_keys_are_wrong():
    found = problems(search={"objective": TWO, "scheduler": "asha", "sampler": "cmaes"})
    assert [line.split(" is ")[0] for line in found] == ["search.sampler", "search.scheduler"]


def test_an_oracle_is_accepted_where_it_is_asked_for():
    search = {"objective": "oracle", "allow_oracle": True}
    assert checked({**SWEEP, "search": search}, "sweep.yaml").search.objectives == ("oracle",)


def test_the_schema_has_every_name():
    one, two = Search.model_json_schema()["properties"]["objective"]["anyOf"]
    assert one["enum"] == two["items"]["enum"] == list(OBJECTIVE_NAMES)
