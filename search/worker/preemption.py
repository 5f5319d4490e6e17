"""A worker that is asked to go, as on a spot instance, saves its trial first.

It is asked by SIGTERM (SLURM sends it to every process of a job), or learns that Ray drains its
node (what `ray start` and Kubernetes do before they end one). Signals are handled in the main
thread of a process and a trial is carried out in another: it looks before every step.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

LOOK_SECONDS = 2.0

log = logging.getLogger("steppe")

_asked = threading.Event()
_at_work = threading.Event()


def asked() -> bool:
    """Whether this process was asked to go."""
    return _asked.is_set()


@contextmanager
def at_work() -> Iterator[None]:
    """The time in which there is something to save."""
    _at_work.set()
    try:
        yield
    finally:
        _at_work.clear()


def listen() -> None:
    """From now on the first SIGTERM lets the trial at work save; any other does what it did before.

    So does the draining of this node. To be called in the main thread; again, it changes nothing.
    """
    before: Any = signal.getsignal(signal.SIGTERM)
    if getattr(before, "lets_trials_save", False):
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if _at_work.is_set() and not _asked.is_set():
            _asked.set()
        elif callable(before):
            before(number, frame)
        else:
            raise SystemExit(128 + number)

    ask.lets_trials_save = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, ask)
    threading.Thread(target=_watch_node, name="draining", daemon=True).start()


def _watch_node() -> None:
    import ray
    from ray._private.state import state  # nothing public tells a worker that its node drains

    try:
        node = ray.get_runtime_context().get_node_id()
        while not _asked.is_set():
            if _at_work.is_set() and node in state.get_draining_nodes():
                _asked.set()
            time.sleep(LOOK_SECONDS)
    except Exception:  # another Ray, or none any more: the trial goes on unwatched
        log.warning("cannot look whether this node drains", exc_info=True)
