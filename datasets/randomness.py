"""Random numbers as functions of a seed: DomainBed's splits, and numbers for each step.

Source of seed_hash and split: facebookresearch/DomainBed, domainbed/lib/misc.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of a domain's samples: `in_` to train on, `out` to validate on; int64, in order."""

    in_: NDArray[np.int64]
    out: NDArray[np.int64]


def seed_hash(*args: object) -> int:
    """A seed in 0..2^31 - 1 from any values: md5 of the tuple as Python prints it."""
    digest = hashlib.md5(str(args).encode(), usedforsecurity=False)
    return int(digest.hexdigest(), 16) % 2**31


HOLDOUT = 0.2  # the share of a domain that is its out split


def split(n: int, trial_seed: int, domain_index: int, holdout: float = HOLDOUT) -> Split:
    """Divide a domain of `n` samples: the first int(n * holdout) shuffled keys are `out`.

    `domain_index` counts all domains of the dataset, the held-out one included.

    Raises ValueError if holdout is not in [0, 1].
    """
    if not 0 <= holdout <= 1:
        raise ValueError(f"holdout must be in [0, 1], but got {holdout}")
    keys = np.arange(n, dtype=np.int64)
    # DomainBed shuffles a list; the same generator moves an array through the same swaps.
    np.random.RandomState(seed_hash(trial_seed, domain_index)).shuffle(keys)
    n_out = int(n * holdout)
    return Split(in_=keys[n_out:], out=keys[:n_out])


SAMPLES = 0  # which samples make a batch
AUGMENTATION = 1  # what happens to them


def units(seed: int, stream: int, step: int, count: int) -> NDArray[np.float64]:
    """`count` numbers, uniform over [0, 1) in steps of 2^-53.

    From a counter-based generator (Philox; Salmon et al., 2011) keyed by seed and stream with the
    step as counter: its raw words are the one stream that numpy promises never to change.

    seed: 0..2^64 - 1.
    stream: 0..2^64 - 1; what draws from one stream never shifts the draws of another.
    step: 0..2^64 - 1.
    count: how many.
    """
    key = np.array([seed, stream], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=[0, step, 0, 0]).random_raw(count)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
