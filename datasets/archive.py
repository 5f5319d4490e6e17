"""Unpacks zip and tar archives of images, and nothing that could reach outside of its folder."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import deque
from collections.abc import Collection
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath

from datasets.domain_dataset import DatasetError
from datasets.image_tree import is_junk

# What the readers of archives raise when one ends early or was changed.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks all of an archive into `folder`, which is made.

    Raises DatasetError: the file is no zip or tar archive or is damaged, needs a password or more
    room than there is, or has a member that is a link or a device or that names a place
    outside of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, folder)
        else:
            raise DatasetError(f"{archive} is no zip or tar archive; {_looks_like(archive)}")
    except DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is not None:  # gzip and bz2 raise their own without a number
            raise
        raise _damaged(archive, error) from error


def find_dataset(folder: Path, domains: Collection[str]) -> Path:
    """The folder of the domains somewhere in an unpacked archive.

    With `domains`: the uppermost folder with the most of them. Without: the first one on the way
    down that holds more than one folder.

    Raises DatasetError: no folder has any of them.
    """
    if not domains:
        while len(below := _folders(folder)) == 1:
            folder = below[0]
        return folder
    best, most = folder, 0
    queue = deque([folder])
    while queue:
        place = queue.popleft()
        below = _folders(place)
        count = sum(path.name in domains for path in below)
        if count > most:
            best, most = place, count
        if len(place.relative_to(folder).parts) < 3 and not count:
            queue.extend(below)
    if not most:
        raise DatasetError(
            f"the archive has none of the folders {', '.join(sorted(domains))}; "
            f"it has {', '.join(path.name for path in _folders(folder)[:5]) or 'none'}"
        )
    return best


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as members:
        total = 0
        for member in members.infolist():
            mode = member.external_attr >> 16
            plain = not stat.S_IFMT(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)
            _check_member(archive, member.filename, plain)
            if member.flag_bits & 1:
                raise DatasetError(f"the archive {archive} needs a password; unpack it by hand")
            total += member.file_size
        free = shutil.disk_usage(folder).free
        if total > free:
            raise DatasetError(
                f"the archive {archive} unpacks to {total / 1e9:.1f} GB, but {folder} has only "
                f"{free / 1e9:.1f} GB free; make room or choose another --root"
            )
        members.extractall(folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as members:
        for member in members:
            _check_member(archive, member.name, member.isfile() or member.isdir())
            members.extract(member, folder, filter="data")
        # A broken member looks like the end of the archive, behind which there are only zeros.
        # Reading on also has checksums of compressed archives compared.
        stream = members.fileobj
        while stream is not None and (rest := stream.read(1 << 20)):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("a member cannot be understood")


def _damaged(archive: Path, error: Exception) -> DatasetError:
    return DatasetError(f"the archive {archive} is damaged: {error}; fetch it again")


def _check_member(archive: Path, name: str, plain: bool) -> None:
    windows = PureWindowsPath(name)  # also knows drives, and both kinds of slashes
    if windows.drive or windows.root or PurePosixPath(name).is_absolute() or ".." in windows.parts:
        raise DatasetError(
            f"the archive {archive} has the member {name!r}, which names a place outside of its "
            "folder; nothing was unpacked: unpack it by hand if you trust it"
        )
    if not plain:
        raise DatasetError(
            f"the archive {archive} has the member {name!r}, which is a link or a device; "
            "nothing was unpacked: unpack it by hand if you trust it"
        )


def _looks_like(file: Path) -> str:
    with file.open("rb") as opened:
        begins = opened.read(64).lstrip()
    if begins[:1] == b"<":
        return "it is a web page: fetch the archive in a browser and give the file"
    return f"it begins with {begins[:12].decode('ascii', 'backslashreplace')!r}"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_junk(path.name))
