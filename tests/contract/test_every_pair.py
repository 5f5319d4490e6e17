"""Which two parts compose, and what a pair must do: trained are pairs in which all slots meet."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import pytest
import torch

from tests.contract.settings import PARTS, REFUSED, covering, run_of, settings
from tests.contract.test_every_algorithm import assert_equal, interrupted, timeless, trained
from training.algorithms import hyperparameters, parse
from training.checkpoint import from_bytes, to_bytes
from training.run import Run
from training.train import Checkpoint

every_pair = pytest.mark.parametrize("pair", covering())


def short(pair: str, **changed: float) -> Run:
    return run_of(pair, changed, steps=8)


@cache
def usual(pair: str) -> Checkpoint:
    return trained(short(pair))[1]


@pytest.mark.parametrize("pair", list(combinations(PARTS, 2)), ids="+".join)
def test_two_parts_compose_unless_the_mathematics_forbids_it(pair):
    refused = frozenset(pair) in REFUSED

    for name in ("+".join(pair), "+".join(reversed(pair))):
        if refused:
            with pytest.raises(ValueError, match="does not compose: ") as why:
                parse(name)
            sentence = str(why.value).removeprefix(f"{name!r} does not compose: ")
            assert set(pair) <= set(sentence.replace(",", "").split())
        else:
            assert set(pair) <= set(parse(name))


@every_pair
def test_the_loss_falls(pair):
    evaluations = usual(pair)["evaluations"]

    first, last = (sum(score[4] for score in scores) for _, scores, *_ in evaluations)

    assert last < first


@every_pair
def test_the_same_run_gives_the_same_numbers(pair):
    assert_equal(timeless(trained(short(pair))[1]), timeless(usual(pair)))


@every_pair
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_not_interrupted(pair):
    run = short(pair)

    _, resumed = trained(run, from_bytes(to_bytes(interrupted(run, 4))))

    assert_equal(timeless(resumed), timeless(usual(pair)))


@every_pair
def test_each_hyperparameter_changes_the_final_weights(pair):
    numbers = settings(pair)
    for name in hyperparameters(pair):
        changed = trained(short(pair, **{name: numbers[name][1]}))[1]

        assert not torch.equal(changed["tensors"][0], usual(pair)["tensors"][0]), name
