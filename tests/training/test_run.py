from __future__ import annotations

from dataclasses import replace

import pytest

from training.run import Run

RUN = Run("RotatedDigits", None, "mlp", "SAM", "0", 0, 10, 5, {"lr": 1e-3, "rho": 0.1})


def test_a_run_is_rebuilt_from_its_plain_values():
    assert Run(**RUN.as_dict()) == RUN


@pytest.mark.parametrize(
    "other",
    [
        {"algorithm": "ERM"},
        {"model": "cnn"},
        {"hyperparameters": {"lr": 1.0}},
        {"steps": 20},
        {"root": "/data"},
    ],
    ids=str,
)
def test_what_is_compared_shares_its_random_seed(other):
    assert replace(RUN, **other).random_seed == RUN.random_seed


@pytest.mark.parametrize("other", [{"seed": 1}, {"held_out": "15"}, {"dataset": "X"}], ids=str)
def test_what_is_averaged_over_has_seeds_of_its_own(other):
    assert replace(RUN, **other).random_seed != RUN.random_seed


def test_a_fold_has_a_seed_of_its_own_whichever_of_its_domains_is_called_held_out():
    fold = replace(RUN, held_out="0", left_out="15")
    assert fold.random_seed == replace(RUN, held_out="15", left_out="0").random_seed
    others = [RUN, replace(RUN, held_out="15"), replace(fold, left_out="30"), replace(fold, seed=1)]
    assert fold.random_seed not in [other.random_seed for other in others]
