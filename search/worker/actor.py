"""The Ray actor that carries out trials, and lets its trial save before it must leave.

A worker is told to leave by SIGTERM, which SLURM sends to every process of a job, by Ray's
draining of its node, as `ray start` and Kubernetes do before they end one, or by a driver that
stops. A signal is handled in the process's main thread, but the trial runs in another, so it checks
`preempted` at every step.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

import ray
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_exists,
    _internal_kv_put,
)
from ray.tune import PlacementGroupFactory
from ray.tune.trainable import Trainable
from ray.tune.trainable.function_trainable import wrap_function

from search.run.run_folder import RunFolder
from search.study.plan import StudyPlan, TrialSpec

CHECK_SECONDS = 0.5
GPU_SHARE = "gpu"  # key of a config, with `resources.gpu: auto`

log = logging.getLogger("steppe")

_preempted = threading.Event()
_at_work = threading.Event()


class Leaving:
    """A mark in the cluster's memory, by which a driver tells its workers that it stops."""

    def __init__(self) -> None:
        self._key = f"steppe-leaving-{uuid.uuid4().hex}"

    def ask(self) -> None:
        """Lets every worker's trial save and end, within CHECK_SECONDS and a step."""
        _internal_kv_put(self._key, b"1")

    def asked(self) -> bool:
        """Whether the driver has asked."""
        return bool(_internal_kv_exists(self._key))

    def forget(self) -> None:
        """Deletes the mark, as a cluster may outlive many sweeps."""
        _internal_kv_del(self._key)


def trial_actor(
    run_trial: Callable[[dict[str, Any], Mapping[str, StudyPlan], RunFolder], None],
    plans: Mapping[str, StudyPlan],
    folder: RunFolder,
    needs: Mapping[str, float],
    leaving: Leaving,
) -> type[Trainable]:
    """Tune's actor class for `run_trial(config, plans, folder)`. Ray must be initialized.

    needs: what a trial occupies, in Ray's names and units.
    """
    stored = ray.put(plans)

    def carry_out(config: dict[str, Any]) -> None:
        run_trial(config, _fetched(stored), folder)

    class TrialWorker(wrap_function(carry_out)):  # type: ignore[misc]
        """Handles preemption around Tune's own actor."""

        def setup(self, config: dict[str, Any]) -> None:
            """Prepares the process for its first trial."""
            handle_preemption(leaving)
            super().setup(config)

        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
            """The resources of a trial, for Tune."""
            return PlacementGroupFactory([dict(needs)])

    return TrialWorker


@cache
def _fetched(stored: ray.ObjectRef[Mapping[str, StudyPlan]]) -> Mapping[str, StudyPlan]:
    """The plans, read once per process: those of 5,000 studies take 30 ms to unpickle."""
    plans: Mapping[str, StudyPlan] = ray.get(stored)
    return plans


def config_of(spec: TrialSpec, gpu_share: float | None = None) -> dict[str, Any]:
    """The trial as Ray passes it on; `spec_of` is the inverse."""
    config = {"study": spec.study.id, "number": spec.number, "values": dict(spec.values)}
    return config if gpu_share is None else {**config, GPU_SHARE: gpu_share}


def spec_of(config: Mapping[str, Any], plans: Mapping[str, StudyPlan]) -> TrialSpec:
    """The trial that a config of Ray's stands for."""
    return plans[config["study"]].trial(config["number"], config["values"])


def preempted() -> bool:
    """Whether this process was told to leave."""
    return _preempted.is_set()


@contextmanager
def at_work() -> Iterator[None]:
    """Marks the time in which a trial could save its work."""
    _at_work.set()
    try:
        yield
    finally:
        _at_work.clear()


def handle_preemption(leaving: Leaving) -> None:
    """Lets the trial at work save on the first SIGTERM, or when its node or its driver leaves.

    Any other SIGTERM does what it did before. Call it in the main thread; a second call does
    nothing.
    """
    before: Any = signal.getsignal(signal.SIGTERM)
    if getattr(before, "lets_trials_save", False):
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if _at_work.is_set() and not _preempted.is_set():
            _preempted.set()
        elif callable(before):
            before(number, frame)
        else:
            raise SystemExit(128 + number)

    on_signal.lets_trials_save = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, on_signal)
    # A Ray of this machine, whose processes must outlive their trials, blocks it in all of them.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_watch, args=[leaving], name="leaving", daemon=True).start()


def _watch(leaving: Leaving) -> None:
    from ray._private.state import state  # Ray has no public way to ask whether a node drains

    try:
        node = ray.get_runtime_context().get_node_id()
        while not _preempted.is_set():
            if _at_work.is_set() and (leaving.asked() or node in state.get_draining_nodes()):
                _preempted.set()
            time.sleep(CHECK_SECONDS)
    except Exception:  # another version of Ray, or Ray has ended: the trial runs unwatched
        log.warning("cannot see whether node or driver leave", exc_info=True)
