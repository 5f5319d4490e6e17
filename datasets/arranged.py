"""Datasets whose folders are not domain/class/image, read where they lie.

An arrangement says which file is of which domain and class; nothing is copied or moved.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from datasets.domain_dataset import DatasetError
from datasets.image_tree import (
    DomainTree,
    ImageFile,
    ImageTree,
    image_names,
    modified,
    other_names,
    stat_of,
    visible_folders,
)
from datasets.spelling import shown


class Files:
    """The files of each domain in order, and what was looked at to find them.

    root: the dataset's folder. A place is a path from there, with `/`.
    """

    def __init__(self, root: Path, domains: Sequence[str]) -> None:
        self.root = root
        self.domains: dict[str, list[ImageFile]] = {domain: [] for domain in domains}
        self.times: dict[str, int] = {}
        self.others: list[str] = []

    def add(self, domain: str, label: str, place: str) -> None:
        """Adds a file to a domain, with the name of its class."""
        self.domains[domain].append(stat_of(self.root / place, f"{label}/{place}"))

    def folders(self, place: str) -> list[str]:
        """Names of the folders in one, sorted. Raises DatasetError if it is not there."""
        self._note(place)
        return visible_folders(self.root / place)

    def images(self, place: str) -> list[str]:
        """Places of the images in a folder, sorted. Raises DatasetError if it is not there."""
        self._note(place)
        self.others += [f"{place}/{name}" for name in other_names(self.root / place)]
        return [f"{place}/{name}" for name in image_names(self.root / place)]

    def rows(self, place: str, *columns: str) -> Iterator[list[str]]:
        """These columns of a CSV file, row by row.

        Raises DatasetError if it is no text, or a row or the header lacks one of them.
        """
        self.times[place] = modified(self.root / place)
        try:
            with (self.root / place).open(newline="", encoding="utf-8") as file:
                table = csv.DictReader(file)
                lacking = [name for name in columns if name not in (table.fieldnames or ())]
                if lacking:
                    raise DatasetError(
                        f"{shown(str(self.root / place))} has no column {', '.join(lacking)}; it "
                        f"has {', '.join(table.fieldnames or ()) or 'none'}: put the file of the "
                        "dataset's authors back"
                    )
                for row in table:
                    if any(row[name] is None for name in columns):
                        raise DatasetError(
                            f"{shown(str(self.root / place))} is cut short in line "
                            f"{table.line_num}; fetch it again"
                        )
                    yield [row[name] for name in columns]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{shown(str(self.root / place))} is damaged: {error}") from error

    def _note(self, place: str) -> None:
        if not (self.root / place).is_dir():
            raise DatasetError(f"there is no folder {place} in {shown(str(self.root))}")
        self.times[place] = modified(self.root / place)


Arrange = Callable[[Files], None]


def arranged_tree(root: Path, domains: Sequence[str], arrange: Arrange) -> ImageTree:
    """What lies in the folder `root` of a dataset with this arrangement.

    Raises OSError if a folder cannot be read, DatasetError as `Files` and if the arrangement does.
    """
    files = Files(root, domains)
    arrange(files)
    trees = tuple(
        DomainTree(name, tuple(sorted({file.label for file in own})), tuple(own), ())
        for name, own in files.domains.items()
    )
    return ImageTree(
        root=root,
        domains=trees,
        classes=tuple(sorted({label for tree in trees for label in tree.classes})),
        strays=(),
        skipped=(),
        folders=files.times,
        lost=tuple(f"{shown(place)} is no image by its name" for place in files.others),
        arranged=True,
    )


def office31(files: Files) -> None:
    """`amazon/images/back_pack/*.jpg`, as distributed, or without `images`."""
    for domain in files.domains:
        inner = f"{domain}/images" if (files.root / domain / "images").is_dir() else domain
        for label in files.folders(inner):
            for place in files.images(f"{inner}/{label}"):
                files.add(domain, label, place)


def digits_dg(files: Files) -> None:
    """`mnist/{train,val}/0/*.jpg`: a domain is both of its parts."""
    for domain in files.domains:
        parts = {part: files.folders(f"{domain}/{part}") for part in ("train", "val")}
        for label in sorted({label for labels in parts.values() for label in labels}):
            for part, labels in parts.items():
                for place in files.images(f"{domain}/{part}/{label}") if label in labels else ():
                    files.add(domain, label, place)


def camelyon(files: Files) -> None:
    """WILDS' `metadata.csv` and `patches/`: hospitals are domains, 1 is tumour.

    All splits of WILDS together, in the order of the file, as in DomainBed.
    """
    columns = ("patient", "node", "x_coord", "y_coord", "tumor", "center")
    for patient, node, x, y, tumour, hospital in files.rows("metadata.csv", *columns):
        domain = f"hospital_{hospital}"
        if domain not in files.domains:
            raise _unknown(files, "metadata.csv", "center", hospital)
        if tumour not in ("0", "1"):
            raise _unknown(files, "metadata.csv", "tumor", tumour)
        slide = _named(files, "metadata.csv", f"patient_{patient}_node_{node}")
        place = f"patches/{slide}"
        if place not in files.times and (files.root / place).is_dir():
            files.times[place] = modified(files.root / place)
        name = _named(files, "metadata.csv", f"patch_{slide}_x_{x}_y_{y}")
        files.add(domain, tumour, f"{place}/{name}.png")


def fmow(files: Files) -> None:
    """WILDS' `rgb_metadata.csv`, `country_code_mapping.csv` and `images/`: regions are domains.

    Regions are numbered as they first appear. All images that are not sequestered, also those of no
    split of WILDS, in the order of the file, as in DomainBed. A country without a region is of
    `Other`.
    """
    regions = dict(files.rows("country_code_mapping.csv", "alpha-3", "region"))
    files.times["images"] = modified(files.root / "images")
    numbers: dict[str, int] = {}
    metadata = files.rows("rgb_metadata.csv", "split", "country_code", "category")
    for index, (part, country, category) in enumerate(metadata):
        number = numbers.setdefault(regions.get(country) or "Other", len(numbers))
        if number == len(files.domains):
            raise _unknown(files, "country_code_mapping.csv", "region", regions.get(country, ""))
        if part != "seq":
            label = _named(files, "rgb_metadata.csv", category)
            files.add(f"region_{number}", label, f"images/rgb_img_{index}.png")


BREEDS = ("bulldog", "dachshund", "labrador", "corgi")  # as backgrounds are listed


def one_to_one(group: str, test: str, filler: str) -> Arrange:
    """A Spawrious dataset in which each breed has one background, another in each split of it.

    group, test: the backgrounds of BREEDS, in their order, in the source domains and in the
    held-out one. filler: the background of a few images of each breed in the source domains. Of
    each folder the first images by name are taken: the authors' code takes the first of an unsorted
    listing, which differs between file systems.
    """

    def arrange(files: Files) -> None:
        for breed, background in zip(BREEDS, test.split(), strict=True):
            for part in ("0", "1"):
                _spawrious(files, "Test", breed, f"{part}/{background}", None)
        for part, domain, most, few in (("0", GROUPS[0], 3072, 96), ("1", GROUPS[1], 2756, 412)):
            for breed, background in zip(BREEDS, group.split(), strict=True):
                _spawrious(files, domain, breed, f"{part}/{background}", most)
                _spawrious(files, domain, breed, f"{part}/{filler}", few)

    return arrange


def many_to_many(group: str, test: str) -> Arrange:
    """A Spawrious dataset in which pairs of breeds exchange backgrounds between the source domains.

    group, test: the backgrounds of BREEDS, in their order, in the first source domain and in the
    first half of the held-out one. In the second source domain and in the other half, the first two
    are exchanged, and so are the last two.
    """

    def arrange(files: Files) -> None:
        for first, domains in ((test.split(), ("Test", "Test")), (group.split(), GROUPS)):
            exchanged = [first[1], first[0], first[3], first[2]]
            for domain, own in zip(domains, (first, exchanged), strict=True):
                for breed, background in zip(BREEDS, own, strict=True):
                    _spawrious(files, domain, breed, f"0/{background}", 3168)

    return arrange


GROUPS = ("SC_group_1", "SC_group_2")


def _spawrious(files: Files, domain: str, breed: str, place: str, most: int | None) -> None:
    for image in files.images(f"{place}/{breed}")[:most]:
        files.add(domain, breed, image)


def _named(files: Files, table: str, text: str) -> str:
    """A name of a folder, file or class that a table gives."""
    if not re.fullmatch(r"\w[\w.-]*", text):
        raise _unknown(files, table, "name", text)
    return text


def _unknown(files: Files, table: str, column: str, value: str) -> DatasetError:
    return DatasetError(
        f"{shown(str(files.root / table))} has the {column} {value!r}, which the "
        "published dataset lacks; put the file of its authors back"
    )
