"""What a whole version of a cache holds.

facts.json              classes, domains, fingerprint, findings: see `Facts`
DOMAIN.images.npy       uint8 [n, H, W, C]
DOMAIN.labels.npy       int64 [n]
DOMAIN.sizes.npy        int64 [n, 2], original width and height; only if images were resized
DOMAIN.originals.bin    uint8, the images that training crops are cut from, [h, w, 3] each, one
                        after another; only if the cache was asked for them
DOMAIN.files.jsonl      the index, a line per file: see `datasets.cache.decode.Row`

DOMAIN is the domain's name; where that is very long, its beginning and a hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.cache.decode import Row
from datasets.cache.originals import kept_sizes
from datasets.domain_dataset import DatasetError, Domain, DomainDataset, Originals
from datasets.findings import Finding, accepted, refuse

FACTS = "facts.json"
LONGEST_STEM = 160  # bytes; file systems allow 255 for a name


@dataclass(frozen=True)
class Facts:
    """What a run needs to know of a version beside its arrays.

    dataset: the dataset's name.
    root: the folder it was made from, where it lay at that time.
    classes, domains: names, in order.
    fingerprint: of `datasets.domain_dataset.fingerprint`.
    findings: what was wrong with the files it was made from, whoever built it accepted it
    or not.
    folders: time (ns) of each folder of the source.
    notes: what was done to the images beyond the usual, a sentence each.
    originals: shorter side that larger originals were reduced to; 0: none are kept.
    """

    dataset: str
    root: str
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    fingerprint: str
    findings: tuple[Finding, ...]
    folders: Mapping[str, int]
    notes: tuple[str, ...] = ()
    originals: int = 0


def images_file(folder: Path, domain: str) -> Path:
    """The decoded images of a domain."""
    return folder / f"{file_stem(domain)}.images.npy"


def originals_file(folder: Path, domain: str) -> Path:
    """The images of a domain that training crops are cut from."""
    return folder / f"{file_stem(domain)}.originals.bin"


def index_file(folder: Path, domain: str) -> Path:
    """The index of a domain: a row for each of its files."""
    return folder / f"{file_stem(domain)}.files.jsonl"


def file_stem(name: str) -> str:
    """How files of a domain or folder begin: its name, unless that would make theirs too long."""
    if len(os.fsencode(name)) <= LONGEST_STEM:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f"{name[: LONGEST_STEM // 8]}-{digest}"


def write_array(folder: Path, domain: str, what: str, array: NDArray[Any]) -> None:
    """Writes `images`, `labels` or `sizes` of a domain."""
    with (folder / f"{file_stem(domain)}.{what}.npy").open("wb") as file:
        np.save(file, array)
        os.fsync(file.fileno())


def write_facts(folder: Path, facts: Facts) -> None:
    """Writes what is known of a cache; the last file, which makes it whole."""
    with (folder / FACTS).open("w") as file:
        json.dump(asdict(facts), file)
        file.flush()
        os.fsync(file.fileno())


def read_facts(folder: Path) -> Facts:
    """Raises DatasetError if the folder holds no whole version."""
    with _whole(folder):
        raw = json.loads((folder / FACTS).read_bytes())
        facts = Facts(
            dataset=raw["dataset"],
            root=raw["root"],
            classes=tuple(raw["classes"]),
            domains=tuple(raw["domains"]),
            fingerprint=raw["fingerprint"],
            findings=tuple(Finding(*finding) for finding in raw["findings"]),
            folders=raw["folders"],
            notes=tuple(raw.get("notes", ())),
            originals=raw.get("originals", 0),
        )
        names = (facts.dataset, facts.root, facts.fingerprint, *facts.classes, *facts.domains)
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"a name in {FACTS} is no text")
        return facts


def open_dataset(folder: Path, allow: Collection[str] = ()) -> DomainDataset:
    """The dataset of a version: nothing is read but labels and sizes, images are mapped.

    Raises DatasetError: it has findings beyond `allow`, or is damaged.
    """
    facts = read_facts(folder)
    with _whole(folder):
        refuse(facts.findings, allow, facts.dataset, Path(facts.root))
        domains = tuple(read_domain(folder, name, facts.originals) for name in facts.domains)
        notes = facts.notes + accepted(facts.findings)
        return DomainDataset(facts.dataset, domains, facts.classes, facts.fingerprint, notes)


def read_domain(folder: Path, name: str, originals: int = 0) -> Domain:
    """A domain of a version whose larger originals were reduced to a shorter side of `originals`.

    Raises DatasetError if a file is missing or shorter than it says.
    """
    with _whole(folder):
        images = np.lib.format.open_memmap(images_file(folder, name), mode="r")
        labels = _array(folder / f"{file_stem(name)}.labels.npy")
        sizes = folder / f"{file_stem(name)}.sizes.npy"
        path = originals_file(folder, name)
        own = _array(sizes) if sizes.exists() or path.exists() else None
        kept = None
        if originals and own is not None:
            empty = not path.stat().st_size  # which cannot be mapped
            pixels = np.empty(0, np.uint8) if empty else np.memmap(path, np.uint8, "r")
            kept = Originals(pixels, kept_sizes(own, originals))
        domain = Domain(name, images, labels, own, kept)
    for array in (domain.labels, domain.sizes):
        if array is not None:
            array.setflags(write=False)
    return domain


def _array(path: Path) -> NDArray[Any]:
    # np.load would also take archives of arrays, and raises much else.
    with path.open("rb") as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def read_index(folder: Path, domain: str) -> Iterator[Row]:
    """The files of a domain in order; none if its images do not come from single files.

    Raises DatasetError at a damaged line.
    """
    path = index_file(folder, domain)
    if not path.exists():
        return
    with _whole(folder), path.open() as lines:
        for line in lines:
            yield Row(*json.loads(line))


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """Raises a DatasetError for whatever readers of damaged files raise in the block."""
    try:
        yield
    except DatasetError:
        raise
    except (OSError, EOFError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: object) -> DatasetError:
    """The error for a version that cannot be used."""
    return DatasetError(f"the cache {folder} is damaged: {error}; delete it, and it is built anew")
