"""Datasets that are folders of domain/class/image: the field's benchmarks, and a user's own."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import findings, layout
from datasets.arranged import arranged_tree
from datasets.benchmarks import Benchmark
from datasets.cache import contents, versions
from datasets.cache.fill import fill
from datasets.domain_dataset import DatasetError, DomainDataset
from datasets.entry import Description, Entry, Reading
from datasets.image_tree import (
    ImageTree,
    found_domains,
    list_tree,
    unchanged,
    visible_folders,
)
from datasets.spelling import is_utf8, shown

log = logging.getLogger("steppe")

DEFAULT_SIZE = 224  # of images, in pixels
DEFAULT_ORIGINALS = 512
# To be raised when the same files give another cache. 2: deep grey is scaled, not clipped.
FORMAT = 2
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
            benchmark.domains,
            benchmark.classes,
            benchmark.sentence,
            benchmark.source,
            benchmark.held_out,
        )
    return Entry(
        description,
        folders.load,
        folders.cache,
        look=folders.look if benchmark is None else None,
        needs_root=True,
        resizes=True,
        cropped=benchmark is None or benchmark.cropped,
    )


@dataclass(frozen=True)
class ImageFolders:
    """A dataset that lies in folders: `benchmark` says what must be there, None: anything."""

    name: str
    benchmark: Benchmark | None = None

    def load(self, root: Path | None, reading: Reading) -> DomainDataset:
        """The dataset, from its cache, which is built if need be.

        Raises FileNotFoundError: no root, or no dataset in it.
        Raises DatasetError: findings that are not allowed, what is left is a domain without images
        or a single class, or no cache can be written.
        """
        version, notes = self._version(root, reading)
        dataset = contents.open_dataset(version, reading.allow)
        layout.check_left(dataset)
        cropped = self.benchmark is None or self.benchmark.cropped
        return replace(dataset, notes=notes + dataset.notes, cropped=cropped)

    def look(self, root: Path) -> Description:
        """What is found in a user's own folder.

        Raises FileNotFoundError: it does not exist, or has no domains.
        Raises DatasetError: no result could come of it (see `layout.check_names`), or it cannot be
        read.
        """
        folder = self.locate(root)
        try:
            classes = {name: visible_folders(folder / name) for name in self._domains(folder)}
        except OSError as error:
            raise _unreadable(error) from error
        layout.check_names(folder, classes)
        return Description(
            tuple(classes),
            len({label for within in classes.values() for label in within}),
            f"Your own images in {folder}.",
            str(folder),
        )

    def locate(self, root: Path | None) -> Path:
        """The dataset's own folder: in `root`, or `root` itself.

        Raises FileNotFoundError: neither holds the dataset.
        """
        if root is None:
            raise FileNotFoundError(
                f"{self.name} needs the folder its images lie in: give it as `dataset.root`"
            )
        root = root.expanduser()
        if not root.is_dir():
            raise FileNotFoundError(f"dataset.root of {self.name} is no folder: {shown(str(root))}")
        if not is_utf8(str(root)):
            raise FileNotFoundError(
                f"dataset.root of {self.name} is {shown(str(root))}, a name that is not UTF-8 and "
                "that no sweep file can give; rename it, or make a link to it"
            )
        try:
            return self._locate(root)
        except PermissionError as error:
            raise _unreadable(error) from error

    def _locate(self, root: Path) -> Path:
        if self.benchmark is None:
            if not found_domains(root):
                raise layout.no_domains(root)
            return root
        inside = self.benchmark.inside
        for folder in (root / self.benchmark.folder, root / self.name, root):
            there = [name for name in inside if (folder / name).exists()]
            if len(there) == len(inside):
                return folder
            if there:
                missing = ", ".join(name for name in inside if name not in there)
                raise FileNotFoundError(
                    f"{self.name} in {folder} lacks {missing}; it has {_listed(folder)}"
                )
        raise FileNotFoundError(
            f"no {self.name} in {root}: there should be {self.benchmark.folder}/ with "
            f"{', '.join(inside)}, or these themselves; there is {_listed(root)}"
            f"{self._elsewhere(root)}"
        )

    def _elsewhere(self, root: Path) -> str:
        """Where a benchmark's folder seems to be, if it is near."""
        assert self.benchmark is not None
        below = sorted(path for path in root.iterdir() if path.is_dir())
        further = (path for folder in below[:20] for path in sorted(folder.iterdir())[:20])
        for folder in (*list(root.absolute().parents)[:2], *below, *further):
            if all((folder / name).exists() for name in self.benchmark.inside):
                return f"; dataset.root seems to be {shown(str(folder))}"
        return ""

    def cache(self, root: Path | None, reading: Reading) -> Path:
        """The folder of the decoded images, built if need be.

        Raises FileNotFoundError, DatasetError: as `load`; of damaged images only `load` tells.
        """
        return self._version(root, reading)[0]

    def _version(self, root: Path | None, reading: Reading) -> tuple[Path, tuple[str, ...]]:
        """The cache's folder, and notes on the files if they were looked at again."""
        folder = self.locate(root)
        size = reading.size or DEFAULT_SIZE
        homes = self._homes(folder, size, reading.originals)
        domains = self._domains(folder)
        known = [version for version in _versions(homes) if version.name.startswith(f"{FORMAT}-")]
        if not reading.recheck:
            for version in known:
                facts = contents.read_facts(version)
                if facts.domains == domains and unchanged(folder, facts.folders):
                    return version, ()
        try:
            tree = self._tree(folder, domains)
        except OSError as error:
            raise _unreadable(error) from error
        found = findings.of_tree(tree, self.benchmark)
        findings.refuse(found, reading.allow, self.name, folder)
        key = f"{FORMAT}-{tree.key(FORMAT, self.name, size)}"
        notes = self._notes(tree) + findings.accepted(found)
        for version in known:
            if version.name == key:
                return version, notes
        for version in known:
            log.warning("%s changed since its cache was built: %s", folder, _changes(version, tree))
        published = findings.is_published(tree, self.benchmark)
        version = versions.build(
            versions.writable(homes),
            key,
            lambda partial: fill(
                partial,
                tree,
                self.name,
                size,
                reading.progress,
                published,
                originals=reading.originals,
            ),
        )
        return version, notes

    def _tree(self, folder: Path, domains: tuple[str, ...]) -> ImageTree:
        if self.benchmark is None or self.benchmark.arrange is None:
            return list_tree(folder, domains)
        return arranged_tree(folder, domains, self.benchmark.arrange)

    def _domains(self, folder: Path) -> tuple[str, ...]:
        return found_domains(folder) if self.benchmark is None else self.benchmark.domains

    def _homes(self, folder: Path, size: int, originals: int) -> tuple[Path, ...]:
        # Never among a benchmark's domains, where other tools take every folder for one.
        beside = folder if self.benchmark is None else folder.parent
        same = self.benchmark is not None and folder.name == self.benchmark.folder
        name = self.name if same else f"{self.name}-{contents.file_stem(folder.name)}"
        made = f"{size}-{originals}" if originals else str(size)
        return versions.homes(beside, folder, f"{name}-{made}")

    def _notes(self, tree: ImageTree) -> tuple[str, ...]:
        notes = []
        which = findings.variant(tree, self.benchmark)
        if which is not None:
            notes.append(f"{self.name} is {which}")
        skipped = [name for name in tree.skipped if name != versions.FOLDER]
        if skipped:
            notes.append(f"skipped {len(skipped)} hidden files and folders: {_few(skipped)}")
        if self.benchmark is None and (below := layout.nested(tree)) is not None:
            notes.append(below)
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
    return ", ".join(map(shown, names[:MOST_NAMED])) + (", ..." if len(names) > MOST_NAMED else "")


def _listed(folder: Path) -> str:
    return _few(sorted(path.name for path in folder.iterdir())) or "nothing"


def _unreadable(error: OSError) -> DatasetError:
    return DatasetError(
        f"cannot read {shown(str(error.filename))}: {error.strerror}; make it readable, or rename "
        "it to begin with a dot to leave it out"
    )
