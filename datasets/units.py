"""Random numbers that are a function of (seed, stream, step): there is no generator to carry on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLES = 0  # which samples make a batch
AUGMENTATION = 1  # what happens to them


def units(seed: int, stream: int, step: int, count: int) -> NDArray[np.float64]:
    """`count` numbers, uniform over [0, 1) in steps of 2^-53.

    From a counter-based generator (Philox; Salmon et al., 2011) keyed by seed and stream with the
    step as counter: its raw words are the one stream that numpy promises never to change.

    Args:
        seed: 0..2^64 - 1.
        stream: 0..2^64 - 1; what draws from one stream never shifts the draws of another.
        step: 0..2^64 - 1.
        count: how many.
    """
    key = np.array([seed, stream], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=[0, step, 0, 0]).random_raw(count)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
