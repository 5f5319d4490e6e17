"""Training batches: each a function of (seed, step), so that a resumed run repeats them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.domain_dataset import Domain
from datasets.randomness import SAMPLES, units
from datasets.views import Block, Job, View, as_stored


@dataclass(frozen=True, eq=False)
class DomainBatch:
    """Samples of all M source domains, in contiguous blocks in domain order.

    x: float32 [N, C, H, W], channels innermost in memory.
    y: int64 [N], class of each sample.
    domain: int64 [N], source domain of each sample, 0..M-1. Shared by all batches of a
    `Batches`: read it, do not write to it.
    sizes: samples of each source domain, so that `x.split(sizes)` is per domain without
    asking the GPU for a count.
    """

    x: Tensor
    y: Tensor
    domain: Tensor
    sizes: tuple[int, ...]


class Batches:
    """Draws batches: `batch_size` samples of each source domain, uniformly, with replacement.

    DomainBed samples so too (domainbed/lib/fast_data_loader.py, InfiniteDataLoader), but from
    one generator that runs on. Here a step's draws are a function of the seed and the step
    (`datasets.randomness`): there is no loader state.

    sources: each source domain and the positions of its samples to draw from, as of a split.
    batch_size: samples of each source domain; a domain with fewer repeats them.
    seed: 0..2^64 - 1.
    device: where the batches go.
    view: what is made of the images, and augments them.
    threads: how many make the next batch while the last one is in use; 0: each batch is made
    when it is asked for, by who asks. The batches are the same.

    Raises ValueError: no sources, a source without samples or with positions outside its domain,
    a batch_size below 1, a seed out of range, or threads below 0.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Domain, NDArray[np.int64]]],
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        view: View = as_stored,
        threads: int = 0,
    ) -> None:
        if not sources:
            raise ValueError("sources must name at least one domain, but there are none")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, but got {batch_size}")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be in 0..2^64 - 1, but got {seed}")
        if threads < 0:
            raise ValueError(f"threads must be at least 0, but got {threads}")
        for domain, positions in sources:
            if len(positions) == 0:
                raise ValueError(f"source domain {domain.name!r} has no samples to draw from")
            if not 0 <= positions.min() <= positions.max() < len(domain):
                raise ValueError(
                    f"positions in source domain {domain.name!r} must be in "
                    f"0..{len(domain) - 1}, but they span {positions.min()}..{positions.max()}"
                )
        self._device = torch.device(device)
        self._batch_size = batch_size
        self._seed = seed
        self._sources = tuple(sources)
        self._counts = np.array([[len(positions)] for _, positions in sources], dtype=np.float64)
        self._sizes = (batch_size,) * len(sources)
        self._domain = torch.arange(len(sources)).repeat_interleave(batch_size).to(self._device)
        self._view = view
        self._pool = ThreadPoolExecutor(threads, "batches") if threads else None
        self._ahead: _Pending | None = None

    def __call__(self, step: int) -> DomainBatch:
        """The batch of a step, the same whenever and however often it is asked for.

        Raises ValueError: step is below 0.
        """
        if step < 0:
            raise ValueError(f"step must be at least 0, but got {step}")
        pending, self._ahead = self._ahead, None
        if pending is None or pending.step != step:
            pending = self._begin(step)
        if self._pool is not None:
            self._ahead = self._begin(step + 1)
        for future in pending.futures:
            future.result()
        return DomainBatch(
            x=pending.job.finish(),
            y=pending.y.to(self._device, non_blocking=True),
            domain=self._domain,
            sizes=self._sizes,
        )

    def _begin(self, step: int) -> _Pending:
        """The batch of a step, its images under way or, without threads, made."""
        blocks = [
            Block(domain, positions[draw])
            for (domain, positions), draw in zip(self._sources, self._draw(step), strict=True)
        ]
        y = torch.from_numpy(np.concatenate([b.domain.labels[b.rows] for b in blocks]))
        job = self._view(blocks, self._seed, step, self._device)
        futures = []
        for task in job.tasks:
            if self._pool is None:
                task()
            else:
                futures.append(self._pool.submit(task))
        return _Pending(step, y.pin_memory() if self._device.type == "cuda" else y, job, futures)

    def _draw(self, step: int) -> NDArray[np.int64]:
        """Draws [M, batch_size], row m uniform over 0..(samples of source m) - 1."""
        unit = units(self._seed, SAMPLES, step, len(self._sizes) * self._batch_size)
        return (unit.reshape(len(self._sizes), -1) * self._counts).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Pending:
    step: int
    y: Tensor
    job: Job
    futures: list[Future[None]]
