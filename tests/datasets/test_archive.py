"""Archives of images are unpacked, and those that reach outside of their folder are refused."""

import io
import random
import stat
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import pytest

from datasets.archive import find_dataset, unpack
from datasets.domain_dataset import DatasetError

FILES = {"PACS/photo/dog/a.jpg": b"1", "PACS/sketch/dog/b c.jpg": b"22"}


def make_zip(file: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return file


def make_tar(file: Path, names: dict[str, bytes], compression: str) -> Path:
    with tarfile.open(file, f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, data in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


KINDS = {
    "zip": make_zip,
    "tar": partial(make_tar, compression=""),
    **{f"tar.{name}": partial(make_tar, compression=name) for name in ("gz", "bz2", "xz")},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_of_any_kind_is_unpacked_whatever_its_name(tmp_path: Path, kind: str) -> None:
    unpack(KINDS[kind](tmp_path / "download?id=1", FILES), tmp_path / "out")
    assert content(tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "name",
    ["../evil.jpg", "a/../../evil.jpg", "/tmp/evil.jpg", "..\\evil.jpg", "C:\\evil.jpg", "\\x.jpg"],
)
def test_a_member_outside_of_the_folder_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = KINDS[kind](tmp_path / "a", {"fine.jpg": b"1", name: b"evil"})
    with pytest.raises(DatasetError, match="names a place outside") as error:
        unpack(archive, tmp_path / "deep" / "out")
    assert repr(name) in str(error.value)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_archive_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("photo/dog")
        member.type, member.linkname = kind, "elsewhere"
        archive.addfile(member)
    with pytest.raises(DatasetError, match=r"'photo/dog', which is a link or a device"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_links_in_a_zip_archive_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("photo")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc")
    with pytest.raises(DatasetError, match=r"'photo', which is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_an_archive_that_needs_a_password_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.jpg": b"1"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # encrypted, says the directory
    archive.write_bytes(data)
    with pytest.raises(DatasetError, match="needs a password"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_damaged_archive_is_told(tmp_path: Path, kind: str) -> None:
    noise = random.Random(0)
    archive = KINDS[kind](tmp_path / "a", {f"{i}.jpg": noise.randbytes(700) for i in range(20)})
    data = archive.read_bytes()
    middle = len(data) // 2
    archive.write_bytes(data[: middle - 999] + b"\xff" * 1998 + data[middle + 999 :])
    with pytest.raises(DatasetError, match=r"the archive .* is damaged: .*; fetch it again"):
        unpack(archive, tmp_path / "out")


def test_a_tar_archive_that_ends_early_is_told(tmp_path: Path) -> None:
    archive = KINDS["tar.gz"](tmp_path / "a", {f"{i}.jpg": bytes(9999) for i in range(9)})
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="is damaged"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\n<!DOCTYPE html>", "it is a web page: fetch the archive in a browser"),
        (b"Rar!", "'Rar!'"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DatasetError, match=f"is no zip or tar archive; .*{sentence}"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2}))
    with pytest.raises(DatasetError, match=r"has only 0\.0 GB free"):
        unpack(make_zip(tmp_path / "a.zip", FILES), tmp_path / "out")
    assert content(tmp_path / "out") == {}


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
    return root


DOMAINS = ("art", "photo")


@pytest.mark.parametrize(
    ("names", "place"),
    [
        (("art/dog", "photo/dog"), "."),
        (("kfold/art/dog", "kfold/photo/dog", "splits"), "kfold"),
        (("a/b/art", "a/b/photo"), "a/b"),
        (("art/dog", "other/art", "other/photo"), "."),
        (("one/art", "two/art", "two/photo"), "two"),
    ],
)
def test_the_folder_of_the_domains_is_found(tmp_path: Path, names: tuple[str], place: str) -> None:
    root = folders(tmp_path, *names)
    assert find_dataset(root, DOMAINS).resolve() == (root / place).resolve()


def test_ones_own_dataset_is_where_there_is_more_than_one_folder(tmp_path: Path) -> None:
    folders(tmp_path, "v1/mine/day/cat", "v1/mine/night/cat", "__MACOSX", "v1/.git")
    assert find_dataset(tmp_path, ()) == tmp_path / "v1" / "mine"


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none of the folders art, photo; it has thesis"):
        find_dataset(folders(tmp_path, "thesis/figures"), DOMAINS)
