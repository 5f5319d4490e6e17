"""Decodes a tree of images into a version of a cache, going on where an earlier call stopped.

Pixels are written first, then the lines of the index that vouch for them, block by block. Threads
do the work: Pillow decodes and resizes, and hashlib hashes, without Python's global lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from datasets.cache.contents import (
    Facts,
    images_file,
    index_file,
    originals_file,
    read_domain,
    read_index,
    write_array,
    write_facts,
)
from datasets.cache.decode import TRUNCATED, UNREADABLE, Row, decode, tolerant
from datasets.cache.inspection import Inspection
from datasets.cache.originals import expected_bytes, kept_bytes
from datasets.cache.versions import check_room
from datasets.domain_dataset import fingerprint
from datasets.entry import Progress
from datasets.image_tree import DomainTree, ImageFile, ImageTree

_Place = Callable[[ImageFile], Path]  # where a file of a domain lies

BLOCK = 128  # images decoded, then written at once

# A block of files, its pixels, and what is found in each.
_Begun = tuple[
    Sequence[ImageFile],
    NDArray[np.uint8],
    list[Future[tuple[Row, NDArray[np.uint8] | None]]],
]


def fill(
    folder: Path,
    tree: ImageTree,
    name: str,
    size: int,
    progress: Progress | None = None,
    published: bool = False,
    *,
    originals: int = 0,
) -> None:
    """Makes `folder` a whole version: all images of `tree` as uint8 [n, size, size, 3].

    folder: empty, or what an interrupted call left of the same tree and size.
    tree: the images.
    name: the dataset's.
    size: side in pixels of the images in the cache.
    progress: is told how far it is.
    published: whether the images are a benchmark's as published, whose own duplicates are
    no finding but a note.
    originals: also keeps the images that training crops are cut from, and reduces those whose
    shorter side is longer; 0: keeps none.

    Raises DatasetError: the disk has too little room, or a file changed meanwhile.
    Raises OSError: the disk is full, with errno ENOSPC or EDQUOT.
    """
    check_room(folder, tree.count * size**2 * 3 + expected_bytes(tree, originals))
    count = _Count(progress, tree.count)
    pool = ThreadPoolExecutor(_cores(), thread_name_prefix="decode")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters is a finding
            for domain in tree.domains:
                place = partial(tree.place, domain.name)
                _fill_domain(folder, place, domain, (size, originals), pool, count)
    finally:
        pool.shutdown(cancel_futures=True)
    _finish(folder, tree, name, published, originals)


def _fill_domain(
    folder: Path,
    place: _Place,
    domain: DomainTree,
    sides: tuple[int, int],
    pool: ThreadPoolExecutor,
    count: _Count,
) -> None:
    size, side = sides
    originals = originals_file(folder, domain.name)
    originals.touch()
    images, index = images_file(folder, domain.name), index_file(folder, domain.name)
    if not images.exists() or images.stat().st_size < _offset(0, size):
        images.write_bytes(_header(len(domain.files), size))
    done = _resumable(folder, domain, size, side, pool)
    count(len(done))
    kept = sum(row.state != UNREADABLE for row in done)
    index.write_text("".join(_line(row) for row in done))
    with (
        images.open("r+b") as pixels,
        originals.open("r+b") as crops,
        index.open("a") as lines,
    ):
        crops.truncate(sum(kept_bytes(row.width, row.height, side) for row in done))
        crops.seek(0, os.SEEK_END)
        pixels.truncate(_offset(kept, size))
        pixels.seek(0, os.SEEK_END)
        for rows, block, kept_originals in _decoded(place, domain.files[len(done) :], sides, pool):
            readable = [row.state != UNREADABLE for row in rows]
            _write(pixels, block if all(readable) else block[readable])
            if kept_originals:
                _write(crops, np.concatenate([one.reshape(-1) for one in kept_originals]))
            lines.write("".join(_line(row) for row in rows))
            lines.flush()
            kept += sum(readable)
            count(len(rows))
        pixels.seek(0)
        pixels.write(_header(kept, size))
        for file in (pixels, crops, lines):
            file.flush()
            os.fsync(file.fileno())
    if not side:
        originals.unlink()


def _decoded(
    place: _Place, files: Sequence[ImageFile], sides: tuple[int, int], pool: ThreadPoolExecutor
) -> Iterator[tuple[list[Row], NDArray[np.uint8], list[NDArray[np.uint8]]]]:
    """Rows, pixels and originals of each block in order; the next is decoded while one is written.

    Blocks are smaller where originals are large.
    """
    size, side = sides
    begun: deque[_Begun] = deque()
    length = max(BLOCK // max(1, side // 256) ** 2, 4)
    for start in range(0, len(files), length):
        block = files[start : start + length]
        pixels = np.empty((len(block), size, size, 3), np.uint8)
        futures = [
            pool.submit(decode, place(file), file, out, side)
            for file, out in zip(block, pixels, strict=True)
        ]
        begun.append((block, pixels, futures))
        if len(begun) == 2:
            yield _collect(place, begun, side)
    while begun:
        yield _collect(place, begun, side)


def _collect(
    place: _Place, begun: deque[_Begun], side: int
) -> tuple[list[Row], NDArray[np.uint8], list[NDArray[np.uint8]]]:
    files, pixels, futures = begun.popleft()
    results = [future.result() for future in futures]
    rows, originals = [row for row, _ in results], [original for _, original in results]
    broken = [i for i, row in enumerate(rows) if row.state == TRUNCATED]
    if broken:
        for _, _, others in begun:  # Pillow's switch is the process's: no thread may decode
            wait(others)
        with tolerant():
            for i in broken:
                pixels[i] = 0
                again, originals[i] = decode(place(files[i]), files[i], pixels[i], side)
                if again.state != UNREADABLE:
                    again = again._replace(state=TRUNCATED)
                rows[i] = again._replace(reason=rows[i].reason)
    return rows, pixels, [original for original in originals if original is not None]


def _resumable(
    folder: Path, domain: DomainTree, size: int, side: int, pool: ThreadPoolExecutor
) -> list[Row]:
    """Rows that an interrupted call wrote and whose pixels are on the disk as they should be."""
    rows: list[Row] = []
    # The last line may have been cut off; those before it are there.
    with contextlib.suppress(ValueError, TypeError):
        rows.extend(read_index(folder, domain.name))
    path = images_file(folder, domain.name)
    stored = (path.stat().st_size - _offset(0, size)) // (size**2 * 3)
    raw = np.memmap(path, np.uint8, "r", shape=(_offset(stored, size),))
    images = raw[_offset(0, size) :].reshape(-1, size**2 * 3)

    path = originals_file(folder, domain.name)
    there = path.stat().st_size
    crops: NDArray[np.uint8] = np.memmap(path, np.uint8, "r") if there else np.empty(0, np.uint8)

    def intact(row: Row, position: int, begin: int) -> bool:
        end = begin + kept_bytes(row.width, row.height, side)
        if side and hashlib.sha256(crops[begin:end].data).hexdigest() != row.original:
            return False
        return hashlib.sha256(images[position]).hexdigest() == row.pixels

    good: list[Row] = []
    checks: list[Future[bool] | None] = []
    position = begin = 0
    for row, file in zip(rows, domain.files, strict=False):
        if (row.file, row.bytes, row.modified) != file or (
            row.state != UNREADABLE
            and (position >= stored or begin + kept_bytes(row.width, row.height, side) > there)
        ):
            break
        readable = row.state != UNREADABLE
        checks.append(pool.submit(intact, row, position, begin) if readable else None)
        position += readable
        begin += kept_bytes(row.width, row.height, side)
        good.append(row)
    # All of them are waited for: what follows may cut the file off under their map.
    sound = [check is None or check.result() for check in checks]
    return good[: sound.index(False)] if False in sound else good


def _finish(folder: Path, tree: ImageTree, name: str, published: bool, side: int) -> None:
    domains, digests, originals = [], [], []
    inspection = Inspection(tree.arranged)
    number = {label: i for i, label in enumerate(tree.classes)}
    for domain in tree.domains:
        rows = list(read_index(folder, domain.name))
        readable = [row for row in rows if row.state != UNREADABLE]
        inspection.add(domain.name, rows)
        labels = [number[row.file.split("/", 1)[0]] for row in readable]
        sizes = [(row.width, row.height) for row in readable]
        write_array(folder, domain.name, "labels", np.array(labels, np.int64))
        write_array(folder, domain.name, "sizes", np.array(sizes, np.int64).reshape(-1, 2))
        domains.append(read_domain(folder, domain.name, side))
        originals.append([bytes.fromhex(row.original) for row in readable])
        digests.append([bytes.fromhex(row.pixels) for row in readable])
    twice = inspection.duplicates()
    found = [*inspection.damaged, *inspection.lost_classes]
    facts = Facts(
        dataset=name,
        root=str(tree.root),
        classes=tree.classes,
        domains=tuple(domain.name for domain in tree.domains),
        fingerprint=fingerprint(tree.classes, domains, digests, originals if side else None),
        findings=tuple(found) if published else (*found, *twice),
        folders=tree.folders,
        notes=(*inspection.notes, *(finding.what for finding in twice if published)),
        originals=side,
    )
    write_facts(folder, facts)


class _Count:
    """Adds up what is done and tells it on."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, more: int) -> None:
        self._done += more
        if self._progress is not None:
            self._progress(self._done, self._total)


def _write(file: BinaryIO, pixels: NDArray[np.uint8]) -> None:
    file.write(pixels.data if pixels.size else b"")
    file.flush()


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def _header(count: int, size: int) -> bytes:
    """The beginning of an .npy file; always as long, so that it can be replaced."""
    shape = f"({count}, {size}, {size}, 3)"
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00\x76\x00" + text.ljust(117).encode() + b"\n"


def _offset(count: int, size: int) -> int:
    """Where the image after the first `count` begins."""
    return len(_header(count, size)) + count * size**2 * 3


def _cores() -> int:
    # Those that this process may use, which a scheduler may have limited.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
