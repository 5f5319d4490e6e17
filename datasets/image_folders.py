"""Datasets that are folders of domain/class/image: the field's benchmarks, and a user's own."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import findings
from datasets.benchmarks import Benchmark
from datasets.cache import contents, place, versions
from datasets.cache.fill import fill
from datasets.domain_dataset import DomainDataset
from datasets.entry import Description, Entry, Reading
from datasets.image_tree import (
    ImageTree,
    found_classes,
    found_domains,
    list_tree,
    unchanged,
)

log = logging.getLogger("steppe")

DEFAULT_SIZE = 224
FORMAT = 1  # to be raised when the same files give another cache
MOST_NAMED = 5


def entry(name: str, benchmark: Benchmark | None = None) -> Entry:
    """The registry's entry of a benchmark; without one, of any folder."""
    folders = ImageFolders(name, benchmark)
    if benchmark is None:
        description = Description(
            domains=(),
            classes=0,
            sentence="A folder of your own: its folders are domains, theirs are classes.",
            source="the dataset's root",
        )
    else:
        description = Description(
            benchmark.domains, benchmark.classes, benchmark.sentence, benchmark.source
        )
    return Entry(
        description,
        folders.load,
        folders.cache,
        look=folders.look if benchmark is None else None,
        needs_root=True,
        resizes=True,
    )


@dataclass(frozen=True)
class ImageFolders:
    """A dataset that lies in folders: `benchmark` says what must be there, None: anything."""

    name: str
    benchmark: Benchmark | None = None

    def load(self, root: Path | None, reading: Reading) -> DomainDataset:
        """The dataset, from its cache, which is built if need be.

        Raises:
            FileNotFoundError: no root, or no dataset in it.
            DatasetError: findings that are not allowed, or no cache can be written.
        """
        version, notes = self._version(root, reading)
        dataset = contents.open_dataset(version, reading.allow)
        return replace(dataset, notes=notes + dataset.notes)

    def look(self, root: Path) -> Description:
        """What is found in a user's own folder.

        Raises:
            FileNotFoundError: it does not exist, or has no domains.
        """
        folder = self.locate(root)
        domains = self._domains(folder)
        return Description(
            domains,
            len(found_classes(folder, domains)),
            f"Your own images in {folder}.",
            str(folder),
        )

    def locate(self, root: Path | None) -> Path:
        """The dataset's own folder: in `root`, or `root` itself.

        Raises:
            FileNotFoundError: neither holds the dataset.
        """
        if root is None:
            raise FileNotFoundError(
                f"{self.name} needs the folder its images lie in: give it as `dataset.root`"
            )
        root = root.expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"dataset.root of {self.name} is no folder: {root}")
        if self.benchmark is None:
            if not found_domains(root):
                raise FileNotFoundError(
                    f"no folder in {root} has folders of its own; a dataset is laid out as "
                    "domain/class/image, and dataset.root is the folder of the domains"
                )
            return root
        domains = self.benchmark.domains
        for folder in (root / self.benchmark.folder, root / self.name, root):
            there = [domain for domain in domains if (folder / domain).is_dir()]
            if len(there) == len(domains):
                return folder
            if there:
                missing = ", ".join(domain for domain in domains if domain not in there)
                raise FileNotFoundError(
                    f"{self.name} in {folder} lacks {missing}; it has {_listed(folder)}"
                )
        raise FileNotFoundError(
            f"no {self.name} in {root}: there should be {self.benchmark.folder}/ with "
            f"{', '.join(domains)}, or these themselves; there is {_listed(root)}"
        )

    def cache(self, root: Path | None, reading: Reading) -> Path:
        """The folder of the decoded images, built if need be.

        Raises:
            FileNotFoundError, DatasetError: as `load`; of damaged images only `load` tells.
        """
        return self._version(root, reading)[0]

    def _version(self, root: Path | None, reading: Reading) -> tuple[Path, tuple[str, ...]]:
        """The cache's folder, and notes on the files if they were looked at again."""
        folder = self.locate(root)
        size = reading.size or DEFAULT_SIZE
        homes = self._homes(folder, size)
        domains = self._domains(folder)
        if not reading.recheck:
            for version in _versions(homes):
                facts = contents.read_facts(version)
                if facts.domains == domains and unchanged(folder, facts.folders):
                    return version, ()
        tree = list_tree(folder, domains)
        found = findings.of_tree(tree, self.benchmark)
        findings.refuse(found, reading.allow, self.name, folder)
        key = tree.key(FORMAT, self.name, size)
        notes = self._notes(tree) + findings.accepted(found)
        for version in _versions(homes):
            if version.name == key:
                return version, notes
        for version in _versions(homes):
            log.warning("%s changed since its cache was built: %s", folder, _changes(version, tree))
        version = versions.build(
            place.writable(homes),
            key,
            lambda partial: fill(partial, tree, self.name, size, reading.progress),
        )
        return version, notes

    def _domains(self, folder: Path) -> tuple[str, ...]:
        return found_domains(folder) if self.benchmark is None else self.benchmark.domains

    def _homes(self, folder: Path, size: int) -> tuple[Path, ...]:
        # Never among a benchmark's domains, where other tools take every folder for one.
        beside = folder if self.benchmark is None else folder.parent
        same = self.benchmark is not None and folder.name == self.benchmark.folder
        name = self.name if same else f"{self.name}-{folder.name}"
        return place.homes(beside, folder, f"{name}-{size}")

    def _notes(self, tree: ImageTree) -> tuple[str, ...]:
        notes = []
        which = findings.variant(tree, self.benchmark)
        if which is not None:
            notes.append(f"{self.name} is {which}")
        skipped = [name for name in tree.skipped if name != place.FOLDER]
        if skipped:
            notes.append(
                f"skipped {len(skipped)} hidden or system files and folders: {_few(skipped)}"
            )
        return tuple(notes)


def _versions(homes: Iterable[Path]) -> list[Path]:
    return [version for home in homes for version in versions.versions(home)]


def _changes(version: Path, tree: ImageTree) -> str:
    """How a tree differs from the one that a version was built from."""
    before = {
        f"{domain}/{row.file}": (row.bytes, row.modified)
        for domain in contents.read_facts(version).domains
        for row in contents.read_index(version, domain)
    }
    now = {f"{d.name}/{file.path}": tuple(file[1:]) for d in tree.domains for file in d.files}
    differences = {
        "new": sorted(now.keys() - before.keys()),
        "gone": sorted(before.keys() - now.keys()),
        "changed": [file for file in now if file in before and now[file] != before[file]],
    }
    parts = [f"{len(names)} {what}: {_few(names)}" for what, names in differences.items() if names]
    return "; ".join(parts) or "other class folders"


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")


def _listed(folder: Path) -> str:
    return _few(sorted(path.name for path in folder.iterdir())) or "nothing"
