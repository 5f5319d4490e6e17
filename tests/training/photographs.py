"""Photographs of a test: noise in colours, brought to 32x32."""

from __future__ import annotations

import numpy as np

from datasets.domain_dataset import Domain, DomainDataset

CLASSES = ("cat", "dog", "owl")


def photographs(per_domain: int = 20) -> DomainDataset:
    """Three domains of noise whose mean colour tells the class."""
    rng = np.random.default_rng(0)
    domains = []
    for name in ("art", "photo", "sketch"):
        labels = rng.integers(len(CLASSES), size=per_domain)
        noise = rng.integers(0, 156, (per_domain, 32, 32, 3))
        noise[np.arange(per_domain), :, :, labels] += 100
        sizes = np.tile(np.array([40, 36]), (per_domain, 1))
        domains.append(Domain(name, noise.astype(np.uint8), labels.astype(np.int64), sizes))
    return DomainDataset("Photographs", tuple(domains), CLASSES, "")
