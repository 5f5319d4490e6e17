"""The dataset as a worker maps it: the same images that the driver has, or none."""

from __future__ import annotations

import socket
from functools import cache

import datasets
from datasets.domain_dataset import DomainDataset
from search.errors import SteppeError
from search.run import manifest
from search.run.run_folder import RunFolder
from search.sweep.schema import Dataset


def load_dataset(given: Dataset, folder: RunFolder) -> DomainDataset:
    """The dataset of a trial, from the node's cache, which the node's first worker builds.

    Raises SteppeError if the node lacks it, or has other images than the run was made with.
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
            f"driver's there, or take the node away, and `python -m search resume {folder.uri}`"
        )
    return dataset


@cache
def _mapped(given: Dataset) -> DomainDataset:
    """Mapped once by each worker; a driver has compared its own files with their cache."""
    return datasets.load(given.name, given.root, given.size, given.allow, recheck=False)
