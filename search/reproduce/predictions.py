"""The table of an exported model's predictions for every sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import datasets
from datasets.cache import contents
from datasets.cache.decode import UNREADABLE
from search.checks.open_datasets import errors_of_images
from search.sweep.schema import Dataset
from training.evaluation import Predictions

PREDICTIONS = "predictions.parquet"
SCHEMA_VERSION = 1

_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("trial", _NAME, nullable=False),
        pa.field("step", pa.int64()),
        pa.field("domain", _NAME, nullable=False),
        pa.field("role", _NAME, nullable=False),  # source, held_out
        pa.field("split", _NAME, nullable=False),  # in, out
        pa.field("index", pa.int64(), nullable=False),
        pa.field("file", pa.string()),  # from the domain's folder; null: the images are no files
        pa.field("label", _NAME, nullable=False),
        pa.field("prediction", _NAME, nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),  # probability of the prediction
        pa.field("loss", pa.float64(), nullable=False),
    ],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)


def write(
    path: Path,
    trial: str,
    step: int | None,
    classes: Sequence[str],
    found: Sequence[Predictions],
    files: Mapping[str, Sequence[str]],
) -> None:
    """Writes a row per sample.

    step: None of a soup. files: of each domain whose samples are files (see `files_of`).
    """
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for own in found:
            indices, domain = own.part.indices, own.part.domain.name
            names = files.get(domain)
            count = len(indices)
            columns = {
                "trial": _repeated(trial, count),
                "step": pa.array([step] * count, pa.int64()),
                "domain": _repeated(domain, count),
                "role": _repeated(own.part.role, count),
                "split": _repeated(own.part.split, count),
                "index": indices,
                "file": [names[i] for i in indices] if names else pa.nulls(count, pa.string()),
                "label": _coded(own.labels, classes),
                "prediction": _coded(own.classes, classes),
                "confidence": own.confidence,
                "loss": own.losses,
            }
            writer.write_table(pa.table(columns, SCHEMA))


def files_of(given: Dataset) -> dict[str, list[str]]:
    """The file of each image in its domain's folder, by domain; empty if images are not files.

    The dataset must have been opened before. Raises SteppeError if its cache is damaged.
    """
    found = {}
    with errors_of_images():
        folder = datasets.prepare(
            given.name, given.root, given.size, given.allow, originals=given.originals or 0
        )
        if folder is None:
            return {}
        for domain in contents.read_facts(folder).domains:
            rows = contents.read_index(folder, domain)
            names = [row.file for row in rows if row.state != UNREADABLE]
            images = len(contents.read_domain(folder, domain))
            if len(names) not in (0, images):
                why = f"the index of {domain} has {len(names)} of {images} files"
                raise contents.damaged(folder, why)
            if names:
                shown = [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
                found[domain] = shown
    return found


def _repeated(text: str, count: int) -> pa.DictionaryArray:
    return _coded(np.zeros(count, np.int64), [text])


def _coded(codes: np.ndarray, names: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32)), pa.array(names, pa.string())
    )
