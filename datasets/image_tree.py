"""Which images lie in a folder of domain/class/image, in the order that numbers them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from datasets.spelling import shown
from datasets.system_files import is_system_file

# What torchvision's ImageFolder takes for an image (torchvision.datasets.folder.IMG_EXTENSIONS).
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class ImageFile(NamedTuple):
    """A file that is an image by its name.

    path: from the domain's folder, the class first: `dog/pic_001.jpg` (but see `ImageTree.place`).
    bytes, modified: its size, and its time in nanoseconds; -1 if it cannot be asked.
    """

    path: str
    bytes: int
    modified: int

    @property
    def label(self) -> str:
        """The name of its class."""
        return self.path.split("/", 1)[0]


@dataclass(frozen=True)
class DomainTree:
    """A domain's folder.

    name: the folder's.
    classes: names of its class folders, also of empty ones.
    files: in the order of torchvision's ImageFolder, on which splits depend.
    others: files in class folders that are no images by their names.
    beside: files beside the class folders that are images by their names.
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    others: tuple[str, ...]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageTree:
    """A dataset's folder.

    root: the folder.
    domains: as they are numbered.
    classes: all class folders of all domains, sorted: a label is an index into them.
    strays: folders beside the domains that are none.
    skipped: hidden files and folders, from the root; those of systems are no news.
    folders: time in nanoseconds of each folder that was looked into, from the root.
    repeated: links to folders that hold the link or were looked into already; not followed.
    lost: links to nothing, and folders that cannot be read.
    arranged: whether its domains are no folders (datasets.arranged); `lost` then has other files.
    """

    root: Path
    domains: tuple[DomainTree, ...]
    classes: tuple[str, ...]
    strays: tuple[str, ...]
    skipped: tuple[str, ...]
    folders: Mapping[str, int]
    repeated: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    arranged: bool = False

    def place(self, domain: str, file: ImageFile) -> Path:
        """Where a file of a domain lies; arranged, its path is from the root, behind its class."""
        inside = file.path.partition("/")[2] if self.arranged else f"{domain}/{file.path}"
        return self.root / inside

    @property
    def count(self) -> int:
        """The number of images."""
        return sum(len(domain.files) for domain in self.domains)

    def key(self, *recipe: object) -> str:
        """Changes with each file's name, size and time, and with what is made of the files."""
        digest = hashlib.sha256(repr((recipe, self.classes)).encode())
        for domain in self.domains:
            digest.update(repr((domain.name, len(domain.files))).encode())
            for file in domain.files:
                digest.update(os.fsencode(f"{file.path}\0{file.bytes}\0{file.modified}\n"))
        return digest.hexdigest()[:16]


def list_tree(root: Path, domains: Sequence[str]) -> ImageTree:
    """What lies in the folder `root`, whose subfolders `domains` are its domains.

    Raises OSError if the root or a domain's folder cannot be read.
    """
    listing = _Listing(root)
    top = _entries(root)
    listing.note(top, "")
    trees = tuple(listing.domain(name) for name in domains)
    others = [name for name in top.folders if not is_junk(name) and name not in domains]
    above = [name for name in others if _is_above(root / name, root)]
    listing.repeated += [f"{shown(name)} is a link to a folder that holds it" for name in above]
    return ImageTree(
        root=root,
        domains=trees,
        classes=tuple(sorted({name for tree in trees for name in tree.classes})),
        strays=tuple(name for name in others if name not in above),
        skipped=tuple(listing.skipped),
        folders=listing.times,
        repeated=tuple(listing.repeated),
        lost=tuple(listing.lost),
    )


def found_domains(root: Path) -> tuple[str, ...]:
    """Subfolders that have subfolders: the domains of a dataset of which nothing is known."""
    return tuple(
        name
        for name in visible_folders(root)
        if not _is_above(root / name, root) and visible_folders(root / name)
    )


def visible_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; without hidden ones and those of systems."""
    return [name for name in _entries(folder).folders if not is_junk(name)]


def image_names(folder: Path) -> list[str]:
    """Names of the files in a folder itself that are images by their names, sorted."""
    return [name for name in _entries(folder).files if is_image(name) and not is_junk(name)]


def other_names(folder: Path) -> list[str]:
    """Names of the files in a folder itself that are none, sorted; without hidden ones."""
    return [name for name in _entries(folder).files if not is_image(name) and not is_junk(name)]


def unchanged(root: Path, folders: Mapping[str, int]) -> bool:
    """Whether no file came, went or was replaced in any of the `folders` of a tree."""
    try:
        return all(modified(root / name) == time for name, time in folders.items())
    except OSError:
        return False


def is_junk(name: str) -> bool:
    """Whether a name is hidden or a system's own."""
    return name.startswith(".") or is_system_file(name)


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith(SUFFIXES)


class _Entries(NamedTuple):
    """What a folder holds, sorted: links to folders are folders, links to nothing are files."""

    folders: list[str]
    files: list[str]
    links: frozenset[str]


@dataclass
class _Listing:
    """Walks through domains, each folder of one once."""

    root: Path
    skipped: list[str] = field(default_factory=list)
    times: dict[str, int] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def domain(self, name: str) -> DomainTree:
        top = self.root / name
        self.times[name] = modified(top)
        entries = _entries(top)
        self.note(entries, f"{name}/")
        folders = [folder for folder in entries.folders if not is_junk(folder)]
        above = [folder for folder in folders if _is_above(top / folder, top)]
        for folder in above:  # no class, whatever it holds
            self.repeated.append(f"{shown(f'{name}/{folder}')} is a link to a folder above it")
        classes = tuple(folder for folder in folders if folder not in above)
        within = self._walk(top, name, classes, entries.links)
        files: list[ImageFile] = []
        others: list[str] = []
        # ImageFolder's order: folders by their paths as strings, which "a b" < "a/b" sorts
        # otherwise than paths do, then files by their names.
        for label in classes:
            for place, names in sorted(within[label]):
                for file in names:
                    path = f"{place}/{file}"
                    if is_image(file):
                        files.append(stat_of(top / path, path))
                    else:
                        others.append(path)
        beside = tuple(file for file in entries.files if is_image(file) and not is_junk(file))
        return DomainTree(name, classes, tuple(files), tuple(others), beside)

    def _walk(
        self, top: Path, domain: str, classes: Sequence[str], links: frozenset[str]
    ) -> dict[str, list[tuple[str, list[str]]]]:
        """For each class its folders, from the domain's, and the files in each.

        Links are followed last, so that what lies in two places counts where it really lies.
        """
        found: dict[str, list[tuple[str, list[str]]]] = {label: [] for label in classes}
        above = (*top.resolve().parents, *self.root.resolve().parents, self.root, top)
        seen = {_identity(folder): "" for folder in above}
        real = deque(label for label in classes if label not in links)
        linked = deque(label for label in classes if label in links)
        while real or linked:
            place = real.popleft() if real else linked.popleft()
            folder, where = top / place, f"{domain}/{place}"
            try:
                identity = _identity(folder)
                if identity in seen:
                    other = seen[identity]
                    what = f"to {shown(f'{domain}/{other}')}" if other else "to a folder above it"
                    self.repeated.append(f"{shown(where)} is a link {what}")
                    continue
                seen[identity] = place
                entries = _entries(folder)
                self.times[where] = modified(folder)
            except OSError as error:
                self.lost.append(f"{shown(where)}: {error.strerror or error}")
                continue
            self.note(entries, f"{where}/", files=True)
            names = [file for file in entries.files if not is_junk(file)]
            found[place.split("/", 1)[0]].append((place, names))
            for name in entries.folders:
                if not is_junk(name):
                    (linked if name in entries.links else real).append(f"{place}/{name}")
        return found

    def note(self, entries: _Entries, place: str, files: bool = False) -> None:
        """Notes what is hidden; and links to nothing, where files would not be looked at."""
        names = entries.folders + (entries.files if files else [])
        hidden = [name for name in names if is_junk(name) and not is_system_file(name)]
        self.skipped += [f"{place}{name}" for name in hidden]
        if not files:
            self.lost += [
                f"{shown(place + name)} is a link to nothing"
                for name in entries.files
                if name in entries.links
                and not is_junk(name)
                and not (self.root / place / name).exists()
            ]


def _entries(folder: Path) -> _Entries:
    folders, files, links = list[str](), list[str](), list[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                inside = entry.is_dir()
            except OSError:  # a link to itself
                inside = False
            (folders if inside else files).append(entry.name)
            if entry.is_symlink():
                links.append(entry.name)
    return _Entries(sorted(folders), sorted(files), frozenset(links))


def stat_of(file: Path, path: str) -> ImageFile:
    """A file as an image; `path` is its name there."""
    try:
        found = file.stat()
    except OSError:
        return ImageFile(path, -1, -1)  # a broken link: found unreadable when it is read
    if not stat.S_ISREG(found.st_mode):
        return ImageFile(path, -1, -1)  # a device or pipe, which may never end
    return ImageFile(path, found.st_size, found.st_mtime_ns)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _is_above(folder: Path, root: Path) -> bool:
    """Whether a folder in `root` is a link to it, or to a folder that holds it."""
    real = root.resolve()
    return folder.is_symlink() and folder.resolve() in (real, *real.parents)


def modified(folder: Path) -> int:
    """The time of a folder or file in nanoseconds."""
    return folder.stat().st_mtime_ns
