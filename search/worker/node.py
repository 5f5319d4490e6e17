"""Checks that a node can take part in a sweep.

It must see the run folder, compute on its device, and have the driver's packages and data. Each
function raises NodeUnfit, which names the node and what to do.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

import ray
import torch

import datasets
import models
from datasets.domain_dataset import DomainDataset
from search.errors import SteppeError
from search.run import manifest
from search.run.retries import StoreError
from search.run.run_folder import MANIFEST, RunFolder
from search.sweep.schema import Dataset
from training.computation import device_of

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

# A node that was left out takes part again as a new node.
AGAIN = "start its Ray again"


class NodeUnfit(SteppeError):
    """A node can carry out no trial of the sweep, though others may.

    node: its id in the cluster; None where there is no cluster.
    """

    def __init__(self, message: str, node: str | None = None) -> None:
        super().__init__(message)
        self.node = node


def _unfit(why: str) -> NodeUnfit:
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else None
    return NodeUnfit(f"node {socket.gethostname()} {why}", node)


def check_device(name: str) -> None:
    """Computes something on the device of the trials."""
    try:
        device = device_of(name)
        if device.type != "cpu":
            (torch.ones(8, 8, device=device) @ torch.ones(8, 8, device=device)).sum().item()
    except torch.OutOfMemoryError:
        raise  # this node's other trials may hold it
    except (ValueError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise _unfit(f"cannot compute on its {name} ({line}); mend it, and {AGAIN}") from error


def check_node(folder: RunFolder) -> None:
    """Checks that the node sees the run folder and has the driver's package versions."""
    try:
        there = folder.exists(MANIFEST)
    except StoreError as error:
        raise _unfit(str(error)) from error
    if not there:
        raise _unfit(
            f"does not see the run in {folder.uri}: give a folder that all nodes share at the same "
            "place, or an object store (s3://...), with --output"
        )
    if folder.local and not os.access(folder.path(), os.W_OK):
        raise _unfit(f"may not write to {folder.uri}; mend it, and {AGAIN}")
    drivers, own = manifest.packages(folder), manifest.versions()
    other = [
        f"{name} {own.get(name, 'missing')} instead of {version}"
        for name, version in drivers.items()
        if name in COMPUTING and own.get(name) != version
    ]
    if other:
        raise _unfit(
            f"has {', '.join(other)}, which the driver has: install the same there, and {AGAIN}"
        )


def check_weights(folder: RunFolder, model: str, weights: str | None) -> None:
    """Checks that the node has the same file of pretrained weights as the driver."""
    known = manifest.weights_digest(folder)
    if weights is None or known is None:
        return
    try:
        file = models.weights_file(model, weights)
    except FileNotFoundError as error:
        raise _unfit(f"lacks the pretrained weights ({error}); mend it, and {AGAIN}") from error
    if file is None:
        return
    stat = file.stat()
    own = _digest(file, stat.st_mtime_ns, stat.st_size)
    if own != known:
        raise _unfit(
            f"has other weights in {file} (sha256 {own[:12]}) than the driver (sha256 "
            f"{known[:12]}); copy the driver's there, and {AGAIN}"
        )


def load_dataset(given: Dataset, folder: RunFolder) -> DomainDataset:
    """The dataset of a trial, with the images that the run was made with.

    It comes from the node's cache, which the node's first worker builds.
    """
    try:
        dataset = _mapped(given)
    except (ValueError, OSError) as error:
        raise _unfit(f"cannot read {given.name} ({error}); mend it, and {AGAIN}") from error
    known = manifest.fingerprints(folder).get(given.name, dataset.fingerprint)
    if known != dataset.fingerprint:
        where = "" if given.root is None else f" in {given.root}"
        raise _unfit(
            f"has other images of {given.name}{where} (fingerprint {dataset.fingerprint[:12]}) "
            f"than the driver (fingerprint {known[:12]}); copy the driver's there, and {AGAIN}"
        )
    return dataset


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
