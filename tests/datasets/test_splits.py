"""Splits and seeds equal DomainBed's, number for number."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.randomness import Split, seed_hash, split

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "splits.json").read_text()
)


def sha256(keys: NDArray[np.int64]) -> str:
    return hashlib.sha256(",".join(map(str, keys.tolist())).encode()).hexdigest()


def case_name(case: dict[str, Any]) -> str:
    return f"n={case['n']},trial={case['trial_seed']},domain={case['env']}"


def golden_split(case: dict[str, Any]) -> Split:
    return split(case["n"], case["trial_seed"], case["env"], case["holdout_fraction"])


@pytest.mark.parametrize("case", GOLDEN["seed_hash"], ids=lambda case: str(case["args"]))
def test_seed_hash_equals_domainbed(case: dict[str, Any]) -> None:
    assert seed_hash(*case["args"]) == case["value"]


@pytest.mark.parametrize("case", GOLDEN["splits"], ids=case_name)
def test_split_has_domainbeds_keys_in_domainbeds_order(case: dict[str, Any]) -> None:
    got = golden_split(case)
    for keys, part in ((got.in_, "in"), (got.out, "out")):
        assert keys.dtype == np.int64
        assert len(keys) == case[f"n_{part}"]
        listed = case[f"{part}_keys" if case["n"] <= 120 else f"{part}_first"]
        assert keys[: len(listed)].tolist() == listed
        assert sha256(keys) == case[f"{part}_sha256"]


@pytest.mark.parametrize("case", GOLDEN["indomain_halves"], ids=case_name)
def test_splitting_the_out_split_in_half_gives_swads_validation_and_test_halves(
    case: dict[str, Any],
) -> None:
    out = golden_split(case).out
    halves = split(len(out), case["trial_seed"], case["env"], holdout=0.5)
    assert out[halves.out].tolist() == case["val_indices_in_env"]
    assert out[halves.in_].tolist() == case["test_indices_in_env"]


@pytest.mark.parametrize("n", [0, 1, 4, 5, 1797])
def test_every_sample_is_in_exactly_one_part(n: int) -> None:
    got = split(n, trial_seed=3, domain_index=1)
    assert sorted([*got.in_.tolist(), *got.out.tolist()]) == list(range(n))
    assert len(got.out) == int(0.2 * n)


def test_a_split_does_not_touch_numpys_global_generator() -> None:
    np.random.seed(0)
    expected = np.random.rand()
    np.random.seed(0)
    split(100, trial_seed=0, domain_index=0)
    assert np.random.rand() == expected


@pytest.mark.parametrize("holdout", [-0.1, 1.1, float("nan")])
def test_a_holdout_that_is_no_fraction_is_refused(holdout: float) -> None:
    with pytest.raises(ValueError, match=r"holdout must be in \[0, 1\], but got"):
        split(10, trial_seed=0, domain_index=0, holdout=holdout)
