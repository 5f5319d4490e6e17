"""What the index of decoded images tells: images that are there twice, classes lost, deep grey."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from datasets.cache.decode import FULL, UNREADABLE, Row
from datasets.findings import DUPLICATES, MISSING, TRUNCATED, Finding
from datasets.spelling import shown

DARK = FULL // 16  # the end of 12 bits
MOST_COMPARED = 20


class Place(NamedTuple):
    """Where an image lies, and what its file is."""

    domain: str
    file: str
    sha256: bytes
    arranged: bool

    @property
    def label(self) -> str:
        """The class."""
        return self.file.split("/", 1)[0]

    def __str__(self) -> str:
        return _name(self.domain, self.file, self.arranged)


class Inspection:
    """Goes through the rows of each domain in turn. arranged: as of `ImageTree`."""

    def __init__(self, arranged: bool = False) -> None:
        self._arranged = arranged
        self.notes: list[str] = []
        # The first place of each image, by its pixels and original size; and its further places.
        self._first: dict[bytes, Place] = {}
        self._again: dict[bytes, list[Place]] = {}
        # Files that are cut short or cannot be read, and classes of which none could be read.
        self.damaged: list[Finding] = []
        self.lost_classes: list[Finding] = []

    def add(self, domain: str, rows: Sequence[Row]) -> None:
        """Looks at a domain's files, in order."""
        readable = [row for row in rows if row.state != UNREADABLE]
        self.damaged += [
            Finding(row.state, f"{_name(domain, row.file, self._arranged)}: {row.reason}")
            for row in rows
            if row.state in (TRUNCATED, UNREADABLE)
        ]
        for row in readable:
            # Half of each hash is enough, and there may be many images.
            image = bytes.fromhex(row.pixels)[:16] + f"{row.width}x{row.height}".encode()
            sha256 = bytes.fromhex(row.sha256)[:16]
            place = Place(domain, row.file, sha256, self._arranged)
            if self._first.setdefault(image, place) is not place:
                self._again.setdefault(image, []).append(place)
        files = {row.file.split("/", 1)[0] for row in rows}
        left = {row.file.split("/", 1)[0] for row in readable}
        self.lost_classes += [
            Finding(MISSING, f"{shown(domain)} has no readable images of class {shown(label)}")
            for label in sorted(files - left)
        ]
        self._note_grey(domain, [row.peak for row in readable if row.peak >= 0])
        several = [row.file for row in readable if row.frames > 1]
        if several:
            self.notes.append(
                f"{shown(domain)}: files that hold several images, of which the first is used: "
                f"{len(several)}, as {shown(several[0])}"
            )

    def duplicates(self) -> list[Finding]:
        """The same file in two domains or two classes: a finding for each pair of these.

        Notes are of what may be meant: other files with the same pixels, as of an image that was
        saved again, and a file twice in one class of one domain.
        """
        found, alike = _Pairs(), _Pairs()
        twice = Counter[str]()
        for image, others in self._again.items():
            places = [self._first[image], *others]
            counted = set[tuple[str, str, str]]()
            # Of an image that is there very often, as an empty one, not every pair is looked at.
            for one, other in combinations(places[:MOST_COMPARED], 2):
                if one.domain != other.domain:
                    pair = ("two domains", one.domain, other.domain)
                elif one.label != other.label:
                    pair = (f"two classes of {shown(one.domain)}", one.label, other.label)
                else:
                    continue
                if pair not in counted:
                    counted.add(pair)
                    (found if one.sha256 == other.sha256 else alike).add(pair, one, other)
            kept = Counter((place.domain, place.label, place.sha256) for place in places)
            for (domain, _, _), count in kept.items():
                twice[domain] += count - 1
        self.notes += [f"other files with the same pixels: {what}" for what in alike.sentences()]
        self.notes += [
            f"{shown(domain)}: images that are once more in their class: {count}"
            for domain, count in twice.items()
            if count
        ]
        return [Finding(DUPLICATES, what) for what in found.sentences()]

    def _note_grey(self, domain: str, peaks: Sequence[int]) -> None:
        if not peaks:
            return
        note = f"{shown(domain)}: grey images of 9 to 16 bits, scaled to 8: {len(peaks)}"
        if max(peaks) <= DARK:
            note += (
                f"; no value is above {max(peaks)} of {FULL}, so that they are nearly black: if "
                "the values have 12 bits or fewer, scale the files to 16"
            )
        self.notes.append(note)


def _name(domain: str, file: str, arranged: bool) -> str:
    """A file from the dataset's folder, for people; see `ImageTree.place`."""
    return shown(file.partition("/")[2] if arranged else f"{domain}/{file}")


class _Pairs:
    """Counts images by the two places that they are in, each with an example."""

    def __init__(self) -> None:
        self._count = Counter[tuple[str, str, str]]()
        self._example: dict[tuple[str, str, str], str] = {}

    def add(self, pair: tuple[str, str, str], one: Place, other: Place) -> None:
        self._count[pair] += 1
        self._example.setdefault(pair, f"{one} is {other}")

    def sentences(self) -> list[str]:
        return [
            f"{count} {'images are' if count > 1 else 'image is'} in {pair[0]}, "
            f"{shown(pair[1])} and {shown(pair[2])}: {self._example[pair]}"
            for pair, count in self._count.items()
        ]
