"""Checks that a node can take part: it sees the run folder, and has the driver's packages and data.

Each function raises SteppeError that names the node and what to do.
"""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path

import datasets
import models
from datasets.domain_dataset import DomainDataset
from search.errors import SteppeError
from search.run import manifest
from search.run.run_folder import MANIFEST, RunFolder
from search.sweep.schema import Dataset

# The packages in the manifest that trials compute with.
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
    """Checks that the node sees the run folder and has the driver's package versions."""
    if not folder.exists(MANIFEST):
        raise SteppeError(
            f"node {socket.gethostname()} does not see the run in {folder.uri}: give a folder that "
            "all nodes share at the same place, or an object store (s3://...), with --output"
        )
    drivers, own = manifest.packages(folder), _own_packages()
    other = [
        f"{name} {own.get(name, 'missing')} instead of {version}"
        for name, version in drivers.items()
        if name in COMPUTING and own.get(name) != version
    ]
    if other:
        raise SteppeError(
            f"node {socket.gethostname()} has {', '.join(other)}, which the driver has: install "
            f"the same there, or {_remove_node(folder)}"
        )


def check_weights(folder: RunFolder, model: str, weights: str | None) -> None:
    """Checks that the node has the same file of pretrained weights as the driver."""
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
            f"driver (sha256 {known[:12]}); copy the driver's there, or {_remove_node(folder)}"
        )


def load_dataset(given: Dataset, folder: RunFolder) -> DomainDataset:
    """The dataset of a trial, with the images that the run was made with.

    It comes from the node's cache, which the node's first worker builds.
    """
    try:
        dataset = _mapped(given)
    except (ValueError, FileNotFoundError) as error:
        raise SteppeError(f"node {socket.gethostname()}: {error}") from error
    known = manifest.fingerprints(folder).get(given.name, dataset.fingerprint)
    if known != dataset.fingerprint:
        where = "" if given.root is None else f" in {given.root}"
        raise SteppeError(
            f"node {socket.gethostname()} has other images of {given.name}{where} (fingerprint "
            f"{dataset.fingerprint[:12]}) than the driver (fingerprint {known[:12]}); copy the "
            f"driver's there, or {_remove_node(folder)}"
        )
    return dataset


def _remove_node(folder: RunFolder) -> str:
    return f"remove the node from the cluster, and `python -m search resume {folder.uri}`"


@cache
def _mapped(given: Dataset) -> DomainDataset:
    """Memory-maps a dataset, once per process. The driver has compared its files and its cache."""
    return datasets.load(
        given.name,
        given.root,
        given.size,
        given.allow,
        recheck=False,
        originals=given.originals or 0,
    )


@cache
def _digest(file: Path, modified: int, size: int) -> str:
    """The sha256 of a file, computed once per process while the file stays the same."""
    return manifest.sha256(file)


@cache
def _own_packages() -> dict[str, str]:
    return manifest.versions()
