"""Fetches a file over http(s), and resumes a download that was interrupted."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from datasets.domain_dataset import DatasetError
from datasets.entry import Progress

CHUNK = 1 << 20
SECONDS = 60  # without an answer


def download(url: str, folder: Path, progress: Progress | None = None) -> Path:
    """The file of a URL, in `folder` under its own name; whole or not at all.

    What an interrupted call left in NAME.part is continued if the server can (Range).

    url: http:// or https://.
    folder: is made.
    progress: called with (bytes there, bytes in all; 0 if the server does not say).

    Raises DatasetError: the server does not answer, refuses, or stops too early.
    Raises OSError: the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "archive"
    file, part = folder / name, folder / f"{name}.part"
    if file.exists():
        return file
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            there, total = _position(answer, there)
            with part.open("r+b" if there else "wb") as out:
                out.truncate(there)
                out.seek(there)
                while chunk := answer.read(CHUNK):
                    out.write(chunk)
                    there += len(chunk)
                    if progress is not None:
                        progress(there, total)
    except urllib.error.HTTPError as error:
        if error.code == 416 and there == _total(error.headers.get("Content-Range", "")):
            return part.rename(file)  # everything was there already
        if error.code == 416:
            part.unlink()
        raise DatasetError(f"{url} cannot be fetched: {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DatasetError(
            f"{url} cannot be fetched: {reason}; fetch it by hand and give the file"
        ) from error
    if total and there != total:
        raise DatasetError(
            f"{url} ended after {there:,} of {total:,} bytes; the same command goes on from there"
        )
    return part.rename(file)


def _position(answer: http.client.HTTPResponse, asked: int) -> tuple[int, int]:
    """Where the bytes of an answer begin in the file, and the file's size (0: not said)."""
    said = answer.headers.get("Content-Range", "")
    length = int(answer.headers.get("Content-Length") or 0)
    if answer.status == 206 and said.startswith(f"bytes {asked}-"):
        return asked, _total(said)
    return 0, length


def _total(content_range: str) -> int:
    match = re.search(r"/(\d+)$", content_range)
    return int(match[1]) if match else 0
