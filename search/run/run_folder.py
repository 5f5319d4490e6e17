"""Access to the files of a run, on a local or network disk or in an object store."""

from __future__ import annotations

import copy
import os
import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from pyarrow import ArrowException
from pyarrow import fs as arrow_fs

from search.errors import SteppeError, nearest
from search.run.retries import reason, retry

SWEEP = "sweep.yaml"
MANIFEST = "manifest.json"
TRIALS = "trials"
EVALUATIONS = "evaluations"
CORRECT = "correct"
CHECKPOINTS = "checkpoints"
FOLDS = "folds"
STARTS = "starts"
SELECTION = "selection.parquet"
WARM_START = "warm_start.json"
WEIGHTS = "weights"

STORE_SECONDS = 10  # how long Google's store retries by itself; see also `retries`

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECRET = re.compile(r"secret|password|token|signature|^sig$|key", re.IGNORECASE)

T = TypeVar("T")


class RunFolder:
    """The folder of one run; names inside it are relative and use `/`.

    location: a path (made absolute, `~` expanded) or a URI: `s3://bucket/runs/x`, `gs://...`,
    `file:///...`. The URI (`?endpoint_override=http://host:port`) or AWS_ENDPOINT_URL sets another
    S3 endpoint; credentials come from the environment. Creating the object touches no file. Its
    pickle holds the endpoint but no credentials.

    The methods retry for some minutes on a full disk or a store that does not answer (see
    `retries`), and then raise StoreError. They raise FileNotFoundError as documented.

    Raises SteppeError if the location cannot be understood, or holds credentials.
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        text = os.fspath(location)
        self._retries = True
        self._on_wait: Callable[[], object] | None = None
        if _URI.match(text):
            _check_no_secret(text)
            try:
                _check_azure(text)
                self.filesystem, root = arrow_fs.FileSystem.from_uri(_with_options(text))
            except (ArrowException, OSError, ValueError) as error:
                line = str(error).splitlines()[0]
                raise SteppeError(f"cannot use {text!r} as a run folder: {line}") from error
            self.root: str = root.rstrip("/")
            if not self.root:
                raise SteppeError(f"cannot use {text!r} as a run folder: it names no folder")
        else:
            self.filesystem = arrow_fs.LocalFileSystem()
            self.root = str(Path(text).expanduser().absolute())
        self.local = isinstance(self.filesystem, arrow_fs.LocalFileSystem)
        # A file:// URI becomes a plain path, which every tool and worker understands.
        self.uri = self.root if self.local else text

    @classmethod
    def existing(cls, location: str | os.PathLike[str]) -> RunFolder:
        """The folder of a run that was launched before.

        Raises SteppeError if there is no such folder, if it holds no sweep.yaml, or if the store
        cannot be reached. Nothing is retried, as a person is waiting.
        """
        folder = cls(location)
        once = folder.without_retries()
        try:
            if once.exists(SWEEP):
                return folder
            is_folder = once.exists("")
            runs = _runs_beside(folder)
        except OSError as error:
            raise SteppeError(f"cannot read the run {folder.uri}: {reason(error)}") from error
        if is_folder:
            raise SteppeError(f"{folder.uri} is not a run: it holds no {SWEEP}")
        close = nearest(folder.name, runs)
        hint = f"; did you mean {close}?" if close else ""
        raise SteppeError(f"there is no run at {folder.uri}{hint}")

    @classmethod
    def create(cls, location: str | os.PathLike[str]) -> RunFolder:
        """A folder that a sweep can write to; created if it does not exist, files in it are kept.

        Raises SteppeError if nothing can be written there; nothing is retried.
        """
        folder = cls(location)
        once = folder.without_retries()
        probe = f".{uuid.uuid4().hex}.partial"
        try:
            once.write_bytes(probe, b"?")
            once.delete(probe)
        except OSError as error:
            raise SteppeError(
                f"cannot write to the output {folder.uri}: {reason(error)}; give another place "
                "with --output"
            ) from error
        return folder

    @property
    def name(self) -> str:
        """The last part of the location."""
        return self.root.rsplit("/", 1)[-1]

    def path(self, name: str = "") -> str:
        """The full path of `name` on `self.filesystem`."""
        return f"{self.root}/{name}" if name else self.root

    def without_retries(self) -> RunFolder:
        """The same folder, but each operation is tried once and raises the OSError that it met."""
        folder = copy.copy(self)
        folder._retries = False
        return folder

    def calling_on_wait(self, on_wait: Callable[[], object]) -> RunFolder:
        """The same folder, but `on_wait` is called before each wait for the disk or store."""
        folder = copy.copy(self)
        folder._on_wait = on_wait
        return folder

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder `name`."""
        info = self._try(lambda: self.filesystem.get_file_info(self.path(name)), "read", name)
        return bool(info.type != arrow_fs.FileType.NotFound)

    def present(self, names: Iterable[str]) -> list[str]:
        """Those of these files that exist, in this order; faster than `list` for a few of many."""
        paths = {self.path(name): name for name in names}
        infos = self._try(lambda: self.filesystem.get_file_info(list(paths)), "read", "")
        return [paths[info.path] for info in infos if info.type == arrow_fs.FileType.File]

    def read_bytes(self, name: str) -> bytes:
        """The content of a file. Raises FileNotFoundError if there is none."""

        def read() -> bytes:
            with self.filesystem.open_input_stream(self.path(name)) as stream:
                return bytes(stream.read())

        return self._try(read, "read", name)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes or replaces a file atomically, and creates the folders above it.

        A reader sees the old file or the new one, even if the writer dies.
        """
        write = _replace if self.local else self._put
        self._try(lambda: write(self.path(name), content), "write", name)

    def list(self, name: str = "") -> list[str]:
        """Names of the files directly in folder `name`, sorted; half-written ones are left out.

        Empty if there is no such folder.
        """
        selector = arrow_fs.FileSelector(self.path(name), allow_not_found=True)
        files = self._try(lambda: self.filesystem.get_file_info(selector), "list", name)
        return sorted(
            file.base_name
            for file in files
            if file.type == arrow_fs.FileType.File and not file.base_name.startswith(".")
        )

    def size(self, name: str = "") -> int:
        """Total size in bytes of the files in a folder, at any depth; 0 if there is none."""
        selector = arrow_fs.FileSelector(self.path(name), allow_not_found=True, recursive=True)
        files = self._try(lambda: self.filesystem.get_file_info(selector), "list", name)
        return sum(file.size or 0 for file in files)

    def delete(self, name: str) -> None:
        """Deletes a file or a folder with its contents; does nothing if there is none."""
        self._try(lambda: self._delete(name), "delete", name)

    def _try(self, do: Callable[[], T], verb: str, name: str) -> T:
        do = partial(_as_os_error, do)
        if not self._retries:
            return do()
        place = f"{self.uri.partition('?')[0].rstrip('/')}/{name}".rstrip("/")
        return retry(do, f"{verb} {place}", self.local, self._on_wait)

    def _put(self, path: str, content: bytes) -> None:
        # An object appears when its stream closes. `with` would close, and publish, a broken one.
        stream = self.filesystem.open_output_stream(path)
        stream.write(content)
        stream.close()

    def _delete(self, name: str) -> None:
        path = self.path(name)
        kind = self.filesystem.get_file_info(path).type
        if kind == arrow_fs.FileType.Directory:
            # A folder of a store is gone with its last file.
            with suppress(FileNotFoundError):
                self.filesystem.delete_dir(path)
        elif kind != arrow_fs.FileType.NotFound:
            self.filesystem.delete_file(path)

    def delete_partials(self) -> None:
        """Deletes half-written files of killed writers; no process may be writing."""
        if self.local:
            for partial in Path(self.root).rglob(".*.partial"):
                partial.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"RunFolder({self.uri!r})"


def _check_no_secret(uri: str) -> None:
    """Raises SteppeError for a URI with a secret, as URIs are shown and logged."""
    parts = urlsplit(uri)
    before, at, _ = parts.netloc.rpartition("@")
    # Names of buckets hold neither; a key with a slash ends the netloc before its @.
    in_bucket = parts.scheme in ("s3", "gs", "gcs") and (at or ":" in parts.netloc)
    in_query = any(_SECRET.search(name) for name, _ in parse_qsl(parts.query, True))
    if in_bucket or ":" in before or in_query:
        raise SteppeError(
            f"the {parts.scheme}:// URI of the run folder holds a user, a password or a key; leave "
            "them out, and give them by the store's own environment variables or files "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, "
            "GOOGLE_APPLICATION_CREDENTIALS, AZURE_TENANT_ID with AZURE_CLIENT_ID and "
            "AZURE_CLIENT_SECRET)"
        )


def _check_azure(uri: str) -> None:
    """Raises SteppeError for the schemes of other tools for Azure, which Arrow does not know."""
    scheme = uri.partition("://")[0].lower()
    if scheme in ("az", "wasb", "wasbs", "adl", "azure"):
        raise SteppeError(
            f"cannot use {uri!r} as a run folder: write {scheme}:// as "
            "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"
        )


def _with_options(uri: str) -> str:
    """The URI with options of its store, where it does not set them itself."""
    # S3: a small object in one request instead of three. Google: without credentials or network,
    # it would retry for a quarter of an hour before anything is said.
    options = {"s3": "allow_delayed_open=true", "gs": f"retry_limit_seconds={STORE_SECONDS}"}
    options["gcs"] = options["gs"]
    option = options.get(uri.partition("://")[0])
    if option is None or option.partition("=")[0] in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}{option}"


def _as_os_error(do: Callable[[], T]) -> T:
    try:
        return do()
    except ArrowException as error:
        # Azure's store raises what is no OSError.
        if isinstance(error, OSError):
            raise
        raise OSError(str(error)) from error


def _replace(file: str, content: bytes) -> None:
    path = Path(file)
    # Beside the file, so that the rename stays on one disk. Dataset readers skip dotted names.
    partial = path.parent / f".{uuid.uuid4().hex}.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _runs_beside(folder: RunFolder) -> list[str]:
    """Names of the runs in the same parent folder (local disks only)."""
    if not folder.local:
        return []
    return [sweep.parent.name for sweep in Path(folder.root).parent.glob(f"*/{SWEEP}")]
