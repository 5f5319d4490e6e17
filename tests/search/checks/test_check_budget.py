import pytest

from search.errors import SteppeError
from tests.search.play import small_sweep


def refused(**search):
    with pytest.raises(SteppeError) as caught:
        small_sweep(search={"trials": 10, **search})
    return str(caught.value)


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
def test_what_could_never_act_is_refused(search, sentence):
    assert sentence in refused(**search)


def test_a_terminator_does_not_go_with_seeds_that_try_what_they_are_given():
    with pytest.raises(SteppeError, match=r"search.terminator does not go with search.seed_red"):
        small_sweep(
            seeds=[0, 1],
            search={"trials": 10, "terminator": "stagnation", "seed_reduction": 2},
        )


def test_budgets_that_can_act_are_taken():
    sweep = small_sweep(
        search={
            "trials": 10,
            "budget": {"trials": 9, "wall_hours": 12, "passes": 1e6, "cpu_hours": 3},
            "study_budget": {"passes": 1e5},
            "terminator": "stagnation",
        }
    )
    assert sweep.search.budget.wall_hours == 12
    assert sweep.search.patience is None
