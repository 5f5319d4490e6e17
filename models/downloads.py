"""Files of published weights: from a cache of this machine, else downloaded into it, once."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Sequence
from pathlib import Path

import torch


def from_url(url: str, what: str) -> Path:
    """The file in torch.hub's cache, downloaded if it is not there, by one process at a time.

    what: the weights, for messages.

    Raises FileNotFoundError, which says where to put it, if it cannot be downloaded.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    if path.is_file():
        return path
    checksum = re.search(r"-([0-9a-f]{8,})\.", path.name)  # its first digits, in most names
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{path}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            if not path.is_file():
                torch.hub.download_url_to_file(
                    url, str(path), checksum and checksum[1], progress=False
                )
    except (OSError, RuntimeError) as error:  # RuntimeError: the checksum is another
        raise FileNotFoundError(
            f"cannot download {what} ({error}): "
            f"get {url} from elsewhere and put it at {path}, or give its path as `weights`"
        ) from error
    return path


def from_hugging_face(repository: str, names: Sequence[str], what: str) -> Path:
    """The first of the named files that the repository has, in that hub's cache.

    The hub is asked only if the cache has none of them; its client downloads a file in one process
    at a time.

    Raises FileNotFoundError, which says what to do, if it cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils.logging import set_verbosity_error

    # It would tell of each of its attempts.
    set_verbosity_error()  # type: ignore[no-untyped-call]
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    reason: BaseException = FileNotFoundError(f"it has no {' or '.join(names)}")
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except Exception as error:  # whatever the network, the hub or the disk has against it
            reason = error if error.__cause__ is None else error.__cause__
            if isinstance(error, LocalEntryNotFoundError) or not isinstance(
                error, EntryNotFoundError
            ):
                break
    short = " ".join(str(reason).split()).partition(". ")[0]
    raise FileNotFoundError(
        f"cannot download {what} ({short}): get {names[0]} of https://huggingface.co/{repository} "
        "from elsewhere and give its path as `weights`"
    ) from reason
