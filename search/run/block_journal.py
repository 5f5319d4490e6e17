"""Optuna's journal where files cannot grow: in blocks, each of them written whole.

`optuna.journal/00000000.jsonl`, `00000001.jsonl`, ... one after the other are what Optuna's own
journal file would hold. The newest block is written again, as one object, each time more is known,
until it is full and the next begins. So whatever a driver dies of, the blocks are a prefix of what
it knew: no line is torn, missing or there twice, and a reader needs no lock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from search.errors import UserError
from search.run.run_folder import RunFolder

BLOCK_BYTES = 256 * 1024
FLUSH_SECONDS = 10.0
FIRST_BLOCK = "00000000.jsonl"


class BlockJournal(BaseJournalBackend):
    """The journal in folder `name` of a run, for one JournalStorage of one process.

    What is appended is known to the process at once, to the store after `flush`, which appending
    calls by itself when the last one is FLUSH_SECONDS ago. Raises UserError if a block is missing.
    """

    def __init__(self, folder: RunFolder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._unread: list[bytes] = []
        self._first = 0  # number of the first unread line
        self._number = 0
        self._block = bytearray()
        self._new = False
        self._flushed = time.monotonic()
        for self._number, block in enumerate(folder.list(name)):
            if block != self._file():
                raise UserError(
                    f"{folder.path(name)} is damaged: {self._file()} is missing, but there is "
                    f"{block}; put it back, or begin a new run in another folder"
                )
            self._block = bytearray(folder.read_bytes(f"{name}/{block}"))
            self._unread += bytes(self._block).splitlines(keepends=True)
        self._begin_next_if_full()

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        # JournalStorage never asks again for what it has read.
        del self._unread[: log_number_from - self._first]
        self._first = log_number_from
        return [json.loads(line) for line in self._unread]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs]
        self._unread += lines
        self._block += b"".join(lines)
        self._new = True
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what the store does not know yet. Raises StoreError."""
        if not self._new:
            return
        self._folder.write_bytes(f"{self._name}/{self._file()}", bytes(self._block))
        self._new = False
        self._flushed = time.monotonic()
        self._begin_next_if_full()

    def _begin_next_if_full(self) -> None:
        if len(self._block) >= BLOCK_BYTES:
            self._number += 1
            self._block = bytearray()

    def _file(self) -> str:
        return f"{self._number:08d}.jsonl"
