"""What tests of several folders share: one local Ray for all that need one in this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from search.driver.cluster import prepare_environment

# Before any test imports torch: its threads cost small models more than they bring, and two
# processes run tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# pytest-xdist's word on the terminal is not that of the terminals that tests open.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
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
