"""What each objective makes of a trial, and what a run keeps for it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from search.results.selection_rules import RULES, Scores
from search.sweep.objectives import OBJECTIVES, oracles, preference, reports_best_so_far
from search.worker.trial_rows import evaluation_rows
from tests.contract.settings import DIGITS, run_of
from training.evaluation import Evaluation, Score
from training.train import train

# step -> accuracies of the source domains a and b and of the held-out domain h, all on out splits
CURVE = {
    10: (0.90, 0.10, 0.40),
    20: (0.60, 0.50, 0.30),
    30: (0.70, 0.40, 0.80),
    40: (0.50, 0.45, 0.20),
}


def evaluation(step: int) -> Evaluation:
    a, b, h = CURVE[step]
    scores = [Score("a", "source", "out", a, 0.0, 30), Score("b", "source", "out", b, 0.0, 20)]
    return Evaluation(step, (*scores, Score("h", "held_out", "out", h, 0.0, 10)), 1.0)


def chosen(name: str) -> Evaluation:
    best = evaluation(10)
    for step in (20, 30, 40):
        if OBJECTIVES[name].prefers(evaluation(step), best):
            best = evaluation(step)
    return best


@pytest.mark.parametrize(
    ("name", "step", "value", "images"),
    [
        ("training-domain", 20, 0.55, 50),  # that of step 30 is equal, and later
        ("worst-source-domain", 20, 0.5, 20),
        ("last-step", 40, 0.475, 50),
        ("oracle", 40, 0.2, 10),
        ("oracle-best-step", 30, 0.8, 10),
    ],
)
def test_the_value_of_a_trial_and_its_step(name, step, value, images):
    best = chosen(name)
    assert best.step == step
    assert OBJECTIVES[name].value(best) == pytest.approx(value)
    assert OBJECTIVES[name].images(best) == images


@pytest.mark.parametrize("name", OBJECTIVES)
def test_they_are_those_of_the_selection_rule_of_the_same_name(name):
    rows = pd.DataFrame(evaluation_rows([evaluation(step) for step in CURVE])).assign(
        trial=0, alike=0
    )
    found = RULES[name].best(Scores(rows))
    assert found["step"].tolist() == [chosen(name).step]
    assert found["validation"].tolist() == pytest.approx([OBJECTIVES[name].value(chosen(name))])
    assert OBJECTIVES[name].oracle == RULES[name].oracle


def test_which_of_them_see_the_held_out_domain():
    assert oracles(OBJECTIVES) == ["oracle", "oracle-best-step"]
    assert [name for name in OBJECTIVES if not reports_best_so_far([name])] == [
        "last-step",
        "oracle",
    ]


SHAKY = replace(run_of("ERM", {"lr": 3e-2}), steps=24, evaluate_every=4)


@pytest.mark.parametrize("name", ["worst-source-domain", "last-step", "oracle-best-step"])
def test_a_run_speaks_through_the_weights_of_its_objective_and_keeps_them(name):
    objective = OBJECTIVES[name]
    run = replace(SHAKY, evaluations="held_out") if objective.oracle else SHAKY
    plain = train(run, DIGITS, lambda _: None, keep="best")
    result = train(run, DIGITS, lambda _: None, keep="best", prefers=preference([name]))
    best = result.evaluations[0]
    for evaluation in result.evaluations[1:]:
        best = evaluation if objective.prefers(evaluation, best) else best
    assert result.best_step == best.step
    assert result.validation == best.validation
    held_out = [
        e.step for e in result.evaluations if sum(s.role == "held_out" for s in e.scores) == 2
    ]
    assert held_out == sorted({plain.best_step, best.step, run.steps})
    at_step = train(run, DIGITS, lambda _: None, keep=best.step)
    for tensor, expected in zip(result.weights.values(), at_step.weights.values(), strict=True):
        assert torch.equal(tensor, expected)


def test_a_run_that_goes_on_from_a_checkpoint_keeps_what_it_preferred_before():
    preferred = preference(["worst-source-domain"])
    whole = train(SHAKY, DIGITS, lambda _: None, keep="best", prefers=preferred)
    saved = []
    train(SHAKY, DIGITS, lambda _: None, lambda make: saved.append(make()), prefers=preferred)
    resumed = train(SHAKY, DIGITS, lambda _: None, resume=saved[-2], keep="best", prefers=preferred)
    assert resumed.best_step == whole.best_step < SHAKY.steps
    for tensor, expected in zip(resumed.weights.values(), whole.weights.values(), strict=True):
        assert torch.equal(tensor, expected)


def test_each_evaluation_has_the_held_out_score_that_an_oracle_needs_and_no_more():
    run = replace(SHAKY, evaluations="held_out")
    result = train(run, DIGITS, lambda _: None)
    sources = len(DIGITS.domains) - 1
    for found in result.evaluations:
        ends = found.step in (result.best_step, run.steps)
        assert len(found.scores) == sources + (2 if ends else 1)
