"""What tests of several folders share: one local Ray for all that need one in this process."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

from search.driver.local_ray import without_helpers
from search.driver.ray_environment import prepare_environment
from search.run.run_folder import RunFolder

# Before any test imports torch: its threads cost small models more than they bring, and several
# processes run tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# pytest-xdist's word on the terminal is not that of the terminals that tests open.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
# Hundreds of processes import the same files: their bytecode is kept, whatever the shell says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Before any test imports ray.
prepare_environment()

TEMPLATE = """
import sys
import search.driver.launch
from search.driver.worker_template import worker_template
with worker_template() as template:
    print(template.command if template else "", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run's, with nothing in it."""
    return RunFolder(tmp_path)


@pytest.fixture(scope="session")
def two_cpus() -> Iterator[None]:
    """A Ray of two CPUs, whatever the machine has; a sweep in this process runs on it."""
    import ray

    without_helpers()
    # As of a launch, its workers are forks of a process that has torch imported.
    with subprocess.Popen(
        [sys.executable, "-c", TEMPLATE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    ) as template:
        assert template.stdin is not None
        assert template.stdout is not None
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env={"py_executable": template.stdout.readline().strip() or sys.executable},
        )
        yield
        ray.shutdown()
        template.stdin.close()


@pytest.fixture(scope="module")
def shallow_vit() -> Iterator[None]:
    """ViT-B/16 has two blocks in the place of twelve."""
    import torchvision.models

    blocks = {"patch_size": 16, "num_layers": 2, "num_heads": 12}
    whole = partial(torchvision.models.VisionTransformer, **blocks, hidden_dim=768, mlp_dim=3072)
    with patch.object(torchvision.models, "vit_b_16", whole):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that collection imports is garbage: it is not looked through, then or later."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process has one left when the other is done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def _freed_memory() -> Iterator[None]:
    """What a file's tests have freed goes back to the system: glibc would keep a gigabyte of it."""
    yield
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """No test cuts the power, and played sweeps would spend most of their time on fsync."""
    with patch.object(os, "fsync", lambda descriptor: None):
        yield
