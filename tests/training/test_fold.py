"""A run without two domains, as leave-one-domain-out cross-validation needs it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from datasets.domain_dataset import DomainDataset
from tests.training.digit_runs import DIGITS, HELD_OUT, roles, trained, without_seconds
from tests.training.test_train import RUN
from training.evaluation import Evaluation
from training.run import Run
from training.train import Trainer

FOLD = replace(RUN, algorithm="SAGM", left_out="60")


def evaluations(run: Run, dataset: DomainDataset = DIGITS) -> list[Evaluation]:
    return without_seconds(trained(run, dataset).result)


def test_a_fold_trains_on_neither_of_its_domains():
    sources = {part.domain.name for part in Trainer(FOLD, DIGITS).parts if part.role == "source"}
    assert sources == {"0", "15", "45", "75"}
    unseen = {"30", "60"}
    domains = tuple(
        replace(domain, labels=np.roll(domain.labels, 1)) if domain.name in unseen else domain
        for domain in DIGITS.domains
    )
    changed = replace(DIGITS, domains=domains)
    here, there = (Trainer(FOLD, dataset) for dataset in (DIGITS, changed))
    for trainer in (here, there):
        for _ in range(4):
            trainer.train_one()
    assert torch.equal(here.weights.flat, there.weights.flat)
    assert evaluations(FOLD) != evaluations(FOLD, changed)


def test_a_run_without_a_set_is_the_fold_without_the_same_domains():
    """So the pairs that DomainBed trains are the folds of its leave-one-domain-out selection."""
    runs = FOLD, replace(FOLD, held_out="30/60", left_out=None)
    fold, pair = (Trainer(run, DIGITS) for run in runs)
    for trainer in (fold, pair):
        for _ in range(2):
            trainer.train_one()
    assert torch.equal(fold.weights.flat, pair.weights.flat)
    assert {p.domain.name for p in pair.parts if p.role == "held_out"} == {"30", "60"}


def test_each_evaluation_of_a_fold_scores_the_in_splits_of_its_domains_and_nothing_else():
    for kept in ("needed", "all"):
        found = evaluations(replace(FOLD, evaluations=kept))
        assert [e.step for e in found] == [4, 8, 10]
        for evaluation in found:
            assert roles(evaluation) == [("30", "held_out", "in"), ("60", "left_out", "in")]


def test_a_fold_is_the_same_run_for_the_studies_of_both_of_its_domains():
    mirrored = replace(FOLD, held_out=FOLD.left_out, left_out=FOLD.held_out)
    here, there = evaluations(FOLD), evaluations(mirrored)
    assert [[(s.domain, s.accuracy, s.loss) for s in e.scores] for e in here] == [
        [(s.domain, s.accuracy, s.loss) for s in e.scores] for e in there
    ]


def test_a_fold_that_is_resumed_ends_with_the_same_bits():
    whole, _, saved = trained(FOLD)
    result = trained(FOLD, resume=saved[0]).result
    assert without_seconds(result) == without_seconds(whole)
    assert (result.best_step, result.validation) == (None, None)


def test_a_fold_whose_weights_are_no_numbers_any_more_has_diverged():
    wild = {"optimizer": "sgd", "hyperparameters": {"lr": 1e38}}
    result = trained(replace(FOLD, algorithm="ERM", steps=4, **wild)).result
    assert (result.state, result.evaluations) == ("diverged", ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left_out": "30"}, "no fold can leave it out"),
        ({"left_out": "31"}, "31"),
        ({"held_out": "0/15/30/45/75"}, "no domain to train on without 0, 15, 30, 45, 75 and 60"),
        ({"averaging": "swa"}, "scored step by step"),
    ],
)
def test_a_fold_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Trainer(replace(FOLD, **change), DIGITS)


def test_the_held_out_domain_is_scored_at_a_step_that_is_named_and_nothing_else_changes():
    run = replace(RUN, steps=20, evaluate_every=4)
    plain, asked = (trained(run, held_out_at=at).result.evaluations for at in (None, 12))
    for before, after in zip(plain, asked, strict=True):
        more = HELD_OUT if before.step == 12 else []
        assert roles(after) == roles(before) + more
        assert after.scores[: len(before.scores)] == before.scores


@pytest.mark.parametrize("at", [4, 20])
def test_a_step_that_is_named_is_scored_once(at):
    run = replace(RUN, steps=20, evaluate_every=4)
    for evaluated in ("needed", "held_out", "all"):
        result = trained(replace(run, evaluations=evaluated), held_out_at=at).result
        for evaluation in result.evaluations:
            places = [(s.domain, s.split) for s in evaluation.scores]
            assert len(places) == len(set(places))
