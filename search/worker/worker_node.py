"""A node that takes part sees the run folder, and has the packages that the driver has."""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path

import models
from search.errors import SteppeError
from search.run import manifest
from search.run.run_folder import MANIFEST, RunFolder

# Of the packages in the manifest, those that trials compute with.
COMPUTING = {
    "numba",
    "numpy",
    "open_clip_torch",
    "pillow",
    "scikit-learn",
    "timm",
    "torch",
    "torchvision",
}


def check_node(folder: RunFolder) -> None:
    """Compares this worker's packages with the driver's, which are in the run's manifest.

    Raises SteppeError that names the node and what is to be done: the run folder is not there, or
    packages have other versions.
    """
    if not folder.exists(MANIFEST):
        raise SteppeError(
            f"node {socket.gethostname()} does not see the run in {folder.uri}: give a folder that "
            "all nodes share at the same place, or an object store (s3://...), with --output"
        )
    drivers, own = manifest.packages(folder), _own()
    other = [
        f"{name} {own.get(name, 'missing')} instead of {version}"
        for name, version in drivers.items()
        if name in COMPUTING and own.get(name) != version
    ]
    if other:
        raise SteppeError(
            f"node {socket.gethostname()} has {', '.join(other)}, which the driver has: install "
            f"the same there, or take the node away, and `python -m search resume {folder.uri}`"
        )


def check_weights(folder: RunFolder, model: str, weights: str | None) -> None:
    """Compares this node's file of weights with the driver's, of which the manifest has the sha256.

    Raises SteppeError that names the node: it has no such file, or another one.
    """
    known = manifest.weights_digest(folder)
    if weights is None or known is None:
        return
    try:
        file = models.weights_file(model, weights)
    except FileNotFoundError as error:
        raise SteppeError(f"node {socket.gethostname()}: {error}") from error
    if file is None:
        return
    stat = file.stat()
    own = _digest(file, stat.st_mtime_ns, stat.st_size)
    if own != known:
        raise SteppeError(
            f"node {socket.gethostname()} has other weights in {file} (sha256 {own[:12]}) than the "
            f"driver (sha256 {known[:12]}); copy the driver's there, or take the node away, and "
            f"`python -m search resume {folder.uri}`"
        )


@cache
def _digest(file: Path, modified: int, size: int) -> str:
    """Read once by each worker, as long as it stays as it is."""
    return manifest.sha256(file)


@cache
def _own() -> dict[str, str]:
    return manifest.versions()
