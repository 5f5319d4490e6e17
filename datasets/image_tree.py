"""Which images lie in a folder of domain/class/image, in the order that numbers them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# What torchvision's ImageFolder takes for an image (torchvision.datasets.folder.IMG_EXTENSIONS).
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

# What systems and programs leave lying about, beside everything whose name begins with a dot.
JUNK = {
    "__MACOSX",
    "__pycache__",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
}


class ImageFile(NamedTuple):
    """A file that is an image by its name.

    path: from the domain's folder, the class first: `dog/pic_001.jpg`.
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

    Args:
        name: the folder's.
        classes: names of its class folders, also of empty ones.
        files: in the order of torchvision's ImageFolder, on which splits depend.
        others: files in class folders that are no images by their names.
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class ImageTree:
    """A dataset's folder.

    Args:
        root: the folder.
        domains: as they are numbered.
        classes: all class folders of all domains, sorted: a label is an index into them.
        strays: folders beside the domains that are none.
        skipped: hidden and system files and folders, from the root.
        folders: time in nanoseconds of each folder that was looked into, from the root.
    """

    root: Path
    domains: tuple[DomainTree, ...]
    classes: tuple[str, ...]
    strays: tuple[str, ...]
    skipped: tuple[str, ...]
    folders: Mapping[str, int]

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
    """What lies in the folder `root`, whose subfolders `domains` are its domains."""
    skipped: list[str] = []
    folders: dict[str, int] = {}
    trees = tuple(_list_domain(root, name, skipped, folders) for name in domains)
    top = _subfolders(root)
    return ImageTree(
        root=root,
        domains=trees,
        classes=tuple(sorted({name for tree in trees for name in tree.classes})),
        strays=tuple(name for name in top if not is_junk(name) and name not in domains),
        skipped=(*(name for name in top if is_junk(name)), *skipped),
        folders=folders,
    )


def found_domains(root: Path) -> tuple[str, ...]:
    """Subfolders that have subfolders: the domains of a dataset of which nothing is known."""
    return tuple(name for name in _visible(root) if _visible(root / name))


def found_classes(root: Path, domains: Iterable[str]) -> tuple[str, ...]:
    """Class folders of all domains, sorted."""
    return tuple(sorted({name for domain in domains for name in _visible(root / domain)}))


def unchanged(root: Path, folders: Mapping[str, int]) -> bool:
    """Whether no file came, went or was replaced in any of the `folders` of a tree."""
    try:
        return all(_modified(root / name) == time for name, time in folders.items())
    except OSError:
        return False


def is_junk(name: str) -> bool:
    """Whether a name is hidden or a system's own."""
    return name.startswith(".") or name in JUNK


def _list_domain(root: Path, name: str, skipped: list[str], folders: dict[str, int]) -> DomainTree:
    top = root / name
    folders[name] = _modified(top)
    names = _subfolders(top)
    skipped += [f"{name}/{folder}" for folder in names if is_junk(folder)]
    classes = tuple(folder for folder in names if not is_junk(folder))
    files: list[ImageFile] = []
    others: list[str] = []
    for label in classes:
        # ImageFolder's order: folders by their paths, then files by their names.
        for folder, within in _walk(top / label, skipped, root):
            place = folder.relative_to(top).as_posix()
            folders[f"{name}/{place}"] = _modified(folder)
            for file in sorted(within):
                path = f"{place}/{file}"
                if is_junk(file):
                    skipped.append(f"{name}/{path}")
                elif file.lower().endswith(SUFFIXES):
                    files.append(_stat(folder / file, path))
                else:
                    others.append(path)
    return DomainTree(name, classes, tuple(files), tuple(others))


def _walk(top: Path, skipped: list[str], root: Path) -> list[tuple[Path, list[str]]]:
    found = []
    for folder, subfolders, names in os.walk(top, followlinks=True):
        here = Path(folder)
        for name in [name for name in subfolders if is_junk(name)]:
            subfolders.remove(name)  # not walked into
            skipped.append((here / name).relative_to(root).as_posix())
        found.append((folder, names))
    # As strings, which "a b" < "a/b" sorts otherwise than paths do.
    return [(Path(folder), names) for folder, names in sorted(found)]


def _stat(file: Path, path: str) -> ImageFile:
    try:
        found = file.stat()
    except OSError:
        return ImageFile(path, -1, -1)  # a broken link: found unreadable when it is read
    return ImageFile(path, found.st_size, found.st_mtime_ns)


def _modified(folder: Path) -> int:
    return folder.stat().st_mtime_ns


def _subfolders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _visible(folder: Path) -> list[str]:
    return [name for name in _subfolders(folder) if not is_junk(name)]
