"""What tests of several folders share: one local Ray for all that need one in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from search.driver.cluster import prepare_environment

# Before any test imports ray.
prepare_environment()


@pytest.fixture(scope="session")
def two_cpus() -> Iterator[None]:
    """A Ray of two CPUs, whatever the machine has; a sweep in this process runs on it."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
    )
    yield
    ray.shutdown()
