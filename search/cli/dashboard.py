"""optuna-dashboard on the studies of a run, also while it runs; nothing is written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from search.errors import SteppeError
from search.run import storage
from search.run.run_folder import RunFolder

HOST = "127.0.0.1"
# As often as the driver writes a block of the journal to an object store.
REFRESH_SECONDS = 10.0


class WatchedJournal(BaseJournalBackend):
    """The journal of a run, read only, for one JournalStorage.

    The dashboard can delete and rename studies; with this journal each such request fails.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        file = Path(folder.path(storage.JOURNAL))
        self._file = JournalFileBackend(str(file)) if folder.local and file.is_file() else None
        self._read = 0.0

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The entries of the journal from this number on."""
        if self._file is not None:
            return self._file.read_logs(log_number_from)
        if self._read and time.monotonic() - self._read < REFRESH_SECONDS:
            return []
        names = [f"{storage.JOURNAL}/{block}" for block in self._folder.list(storage.JOURNAL)]
        lines = [line for name in names for line in self._folder.read_bytes(name).splitlines()]
        self._read = time.monotonic()
        return [json.loads(line) for line in lines[log_number_from:]]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Refuses to write."""
        raise PermissionError("the dashboard of a run only reads it")


def application(folder: RunFolder) -> Any:
    """The dashboard as a WSGI application.

    Raises SteppeError if optuna-dashboard is not installed, or if no trial has begun.
    """
    try:
        import optuna_dashboard
    except ModuleNotFoundError:
        raise SteppeError(
            "the dashboard needs optuna-dashboard, which is not installed: "
            "pip install '.[dashboard]'"
        ) from None
    storage.open_for_reading(folder)  # says what is wrong with a damaged journal
    if not storage.begun(folder):
        raise SteppeError(f"no trial of {folder.uri} has begun, so there is nothing to show yet")
    return optuna_dashboard.wsgi(JournalStorage(WatchedJournal(folder)))


def serve(run: str, port: int) -> None:
    """Serves the dashboard of a run on this machine until it is interrupted.

    Raises SteppeError as `application`, for a run that does not exist, and for a port in use.
    """
    app = application(RunFolder.existing(run))
    try:
        server = make_server(HOST, port, app, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise SteppeError(
            f"cannot listen on {HOST}:{port}: {error}; give another port with --port"
        ) from error
    with server:
        print(f"Dashboard: http://{HOST}:{server.server_port} (Ctrl-C ends it)", flush=True)
        server.serve_forever()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not printed."""
