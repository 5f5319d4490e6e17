"""Decoding into a cache: interrupted, short of room, beside others; whole or not there."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import datasets
from datasets.cache import contents, fill
from datasets.cache.decode import decode
from datasets.domain_dataset import DatasetError
from datasets.image_tree import ImageFile
from tests.datasets import photos
from tests.datasets.photos import jpeg, tree

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "BLOCK", 4)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two domains of 20 images, which are five blocks."""
    return tree(tmp_path / "mine", ["day", "night"], ["cat", "dog"], count=10)


@pytest.fixture
def expected(tmp_path: Path, mine: Path) -> datasets.DomainDataset:
    """The same images, decoded in one go from a copy."""
    return load(Path(shutil.copytree(mine, tmp_path / "copy")))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that are decoded from now on."""
    files: list[str] = []

    def counted(path: Path, file: ImageFile, *rest: Any) -> Any:
        files.append(file.path)
        return decode(path, file, *rest)

    monkeypatch.setattr(fill, "decode", counted)
    return files


load = partial(photos.load, originals=12)


def folders(root: Path) -> list[Path]:
    (home,) = (root / ".steppe-cache").iterdir()
    return [path for path in home.iterdir() if path.is_dir()]


def same(one: datasets.DomainDataset, other: datasets.DomainDataset) -> None:
    assert one.fingerprint == other.fingerprint
    for a, b in zip(one.domains, other.domains, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert a.originals is not None
        assert b.originals is not None
        np.testing.assert_array_equal(a.originals.pixels, b.originals.pixels)
        np.testing.assert_array_equal(a.originals.sizes, b.originals.sizes)


# Builds for as long as it is let: after AT images it says so and waits to be killed.
BUILD = """
import sys, time
import datasets
from datasets.cache import fill
fill.BLOCK = 4
root, at = sys.argv[1], int(sys.argv[2])
def progress(done, total):
    if done >= at:
        print(done, flush=True)
        time.sleep(600)
datasets.load("ImageFolders", root, size=8, progress=progress, originals=12)
"""


def killed_after(root: Path, images: int) -> int:
    """Starts a build in another process, and kills it; how many images it had said were done."""
    command = [sys.executable, "-c", BUILD, str(root), str(images)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        done = int(process.stdout.readline())
        process.kill()
    return done


@pytest.mark.parametrize("images", [1, 20, 32])
def test_a_killed_build_is_not_taken_for_whole_and_goes_on_where_it_stopped(
    mine: Path, expected: datasets.DomainDataset, decoded: list[str], images: int
) -> None:
    done = killed_after(mine, images)
    assert [path.suffix for path in folders(mine)] == [".partial"]
    same(load(mine), expected)
    assert len(decoded) == 40 - done
    assert [path.suffix for path in folders(mine)] == [""]


IMAGE = 8 * 8 * 3


@pytest.mark.parametrize(
    ("name", "damage", "kept"),
    [
        # As a loss of power can leave them: the length is right, the content is not.
        ("images.npy", lambda data: data[: -2 * IMAGE] + bytes(IMAGE) + data[-IMAGE:], 10),
        ("images.npy", lambda data: data[: 128 + 10 * IMAGE + 5], 10),
        ("images.npy", lambda data: data[:60], 0),
        ("originals.bin", lambda data: data[: 18 * 12 * 3 * 10 - 1], 9),
        ("files.jsonl", lambda data: data[:-30], 11),
    ],
    ids=[
        "pixels of zeros",
        "pixels cut off",
        "header cut off",
        "originals cut off",
        "index cut off",
    ],
)
def test_of_a_damaged_part_only_what_is_sound_is_kept(
    mine: Path,
    expected: datasets.DomainDataset,
    decoded: list[str],
    name: str,
    damage: Callable[[bytes], bytes],
    kept: int,
) -> None:
    assert killed_after(mine, 12) == 12
    file = folders(mine)[0] / f"day.{name}"
    file.write_bytes(damage(file.read_bytes()))
    same(load(mine), expected)
    assert len(decoded) == 40 - kept


def test_a_part_of_another_source_is_not_used(mine: Path, decoded: list[str]) -> None:
    killed_after(mine, 12)
    (mine / "day" / "cat" / "pic_000.jpg").write_bytes(jpeg(99))
    load(mine)
    assert len(decoded) == 40
    assert [path.suffix for path in folders(mine)] == [""]


def test_unreadable_images_are_left_out_also_by_a_build_that_goes_on(
    mine: Path, decoded: list[str]
) -> None:
    (mine / "day" / "cat" / "pic_001.jpg").write_bytes(b"no image")
    done = killed_after(mine, 8)
    dataset = load(mine, "unreadable")
    assert len(decoded) == 40 - done
    assert [len(domain) for domain in dataset.domains] == [19, 20]
    assert dataset.domains[0].labels.tolist() == [0] * 9 + [1] * 10


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_the_build_goes_on_when_there_is_room(
    mine: Path,
    expected: datasets.DomainDataset,
    decoded: list[str],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    blocks = 0
    write = fill._write

    def full(*arguments: Any) -> None:
        nonlocal blocks
        blocks += 1
        if blocks == 8:  # the originals of the fourth block
            raise OSError(code, os.strerror(code))
        write(*arguments)

    monkeypatch.setattr(fill, "_write", full)
    with pytest.raises(DatasetError, match=r"no room on the disk for the cache .*mine.*make room"):
        load(mine)
    assert [path.suffix for path in folders(mine)] == [".partial"]
    monkeypatch.setattr(fill, "_write", write)
    decoded.clear()
    same(load(mine), expected)
    assert len(decoded) == 40 - 12


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where the tests may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True
    )
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_disk_that_is_really_full_leaves_no_whole_cache(
    mine: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, foreseen: bool
) -> None:
    monkeypatch.setenv("STEPPE_CACHE", str(small_disk))
    if not foreseen:
        monkeypatch.setattr(fill, "check_room", lambda *_: None)
    with pytest.raises(DatasetError, match=r"no room on the disk"):
        load(mine, size=32)
    (place,) = small_disk.iterdir()
    assert [path.suffix for path in place.iterdir() if path.is_dir()] == [".partial"]


def test_too_little_room_is_told_before_anything_is_decoded(
    mine: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 40 * 8 * 8 * 3 - 1})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DatasetError, match=r"which needs 0\.0 GB more \(0\.0 GB are free\)"):
        load(mine)
    assert decoded == []


def test_two_processes_at_once_decode_each_image_once_between_them(
    mine: Path, expected: datasets.DomainDataset
) -> None:
    script = (
        "import sys, datasets\n"
        "told = []\n"
        "dataset = datasets.load('ImageFolders', sys.argv[1], size=8, originals=12, "
        "progress=lambda done, total: told.append(done))\n"
        "print(dataset.fingerprint, len(told) > 0)"
    )
    command = [sys.executable, "-c", script, str(mine)]
    processes = [
        subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = [process.communicate()[0].split() for process in processes]
    assert [fingerprint for fingerprint, _ in answers] == [expected.fingerprint] * 3
    assert sorted(built for _, built in answers) == ["False", "False", "True"]
    same(load(mine), expected)


def test_an_image_that_changes_during_the_build_is_told(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(path: Path, file: ImageFile, *rest: Any) -> Any:
        if file.path == "dog/pic_003.jpg":
            path.write_bytes(jpeg(1234))
        return decode(path, file, *rest)

    monkeypatch.setattr(fill, "decode", late)
    with pytest.raises(DatasetError, match=r"dog/pic_003.jpg changed while the cache was built"):
        load(mine)
    assert [path.suffix for path in folders(mine)] == [".partial"]


def test_progress_counts_all_images_of_all_domains(mine: Path) -> None:
    told: list[tuple[int, int]] = []
    load(mine, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (40, 40)
    assert told == sorted(told)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("night.images.npy", b"\x93NUMPY"),
        ("night.labels.npy", b""),
        ("night.sizes.npy", b"PK\x03\x04"),
        ("facts.json", b"[]"),
        ("facts.json", b'{"root": 5}'),
    ],
)
def test_a_cache_with_a_damaged_file_is_told(mine: Path, file: str, content: bytes) -> None:
    load(mine)
    (version,) = folders(mine)
    (version / file).write_bytes(content)
    with pytest.raises(DatasetError, match=r"the cache .* is damaged: .*; delete it"):
        load(mine)


def test_the_index_names_each_file_with_its_checksums(mine: Path) -> None:
    import hashlib

    (mine / "day" / "dog" / "pic_009.jpg").write_bytes(b"no image")
    dataset = load(mine, "unreadable")
    (version,) = folders(mine)
    rows = list(contents.read_index(version, "day"))
    assert [row.file for row in rows] == sorted(
        path.relative_to(mine / "day").as_posix() for path in (mine / "day").rglob("*.jpg")
    )
    for row, image in zip(rows, dataset.domains[0].images, strict=False):
        data = (mine / "day" / row.file).read_bytes()
        assert (row.state, row.bytes) == ("whole", len(data))
        assert row.sha256 == hashlib.sha256(data).hexdigest()
        assert row.pixels == hashlib.sha256(image).hexdigest()
    assert rows[-1].state == "unreadable"


def test_the_arrays_are_npy_files_that_anything_reads(mine: Path) -> None:
    dataset = load(mine)
    (version,) = folders(mine)
    for domain in dataset.domains:
        np.testing.assert_array_equal(np.load(version / f"{domain.name}.images.npy"), domain.images)
    assert json.loads((version / "facts.json").read_text())["fingerprint"] == dataset.fingerprint


@pytest.mark.parametrize(("count", "size"), [(0, 1), (1, 8), (586575, 224), (10**9, 1024)])
def test_the_header_of_an_array_is_as_long_for_any_count(count: int, size: int) -> None:
    from io import BytesIO

    from numpy.lib import format as npy

    file = BytesIO(fill._header(count, size))
    assert len(file.getvalue()) == 128
    assert npy.read_magic(file) == (1, 0)
    assert npy.read_array_header_1_0(file) == ((count, size, size, 3), False, np.dtype(np.uint8))
