"""Training batches: each a function of (seed, step), so that a resumed run repeats them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.domain_dataset import Domain


@dataclass(frozen=True, eq=False)
class DomainBatch:
    """Samples of all M source domains, in contiguous blocks in domain order.

    Args:
        x: float32 [N, C, H, W] in [0, 1].
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
    one generator that runs on. Here a step's draws come from a counter-based generator (Philox;
    Salmon et al., 2011) keyed by the seed with the step as counter: there is no loader state.

    Args:
        sources: each source domain and the positions of its samples to draw from, as of a split.
        batch_size: samples of each source domain; a domain with fewer repeats them.
        seed: 0..2^64 - 1.
        device: where the batches go.

    Raises:
        ValueError: no sources, a source without samples or with positions outside its domain,
            a batch_size below 1, or a seed out of range.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Domain, NDArray[np.int64]]],
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        if not sources:
            raise ValueError("sources must name at least one domain, but there are none")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, but got {batch_size}")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed must be in 0..2^64 - 1, but got {seed}")
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
        # The key's second word is left for other draws of the same seed.
        self._key = np.array([seed, 0], dtype=np.uint64)
        self._images = [domain.images for domain, _ in sources]
        self._positions = [positions for _, positions in sources]
        self._labels = [domain.labels[positions] for domain, positions in sources]
        self._counts = np.array([[len(positions)] for _, positions in sources], dtype=np.float64)
        self._sizes = (batch_size,) * len(sources)
        self._domain = torch.arange(len(sources)).repeat_interleave(batch_size).to(self._device)

    def __call__(self, step: int) -> DomainBatch:
        """The batch of a step, the same whenever and however often it is asked for.

        Raises:
            ValueError: step is below 0.
        """
        if step < 0:
            raise ValueError(f"step must be at least 0, but got {step}")
        draws = self._draw(step)
        n = draws.size
        # Fresh page-locked memory per batch: the copy need not be waited for, and torch's
        # allocator does not hand the memory out again before the copy is done.
        pin = self._device.type == "cuda"
        pixels = torch.empty((n, *self._images[0].shape[1:]), dtype=torch.uint8, pin_memory=pin)
        y = torch.empty(n, dtype=torch.int64, pin_memory=pin)
        pixels_out, y_out = pixels.numpy(), y.numpy()
        for i, draw in enumerate(draws):
            block = slice(i * self._batch_size, (i + 1) * self._batch_size)
            # "clip" lets numpy write straight into the batch; no draw is ever out of range.
            self._images[i].take(
                self._positions[i][draw], axis=0, out=pixels_out[block], mode="clip"
            )
            y_out[block] = self._labels[i][draw]
        return DomainBatch(
            x=as_input(pixels.to(self._device, non_blocking=True)),
            y=y.to(self._device, non_blocking=True),
            domain=self._domain,
            sizes=self._sizes,
        )

    def _draw(self, step: int) -> NDArray[np.int64]:
        """Draws [M, batch_size], row m uniform over 0..(samples of source m) - 1.

        Made from the generator's raw words, the one stream that numpy promises never to change.
        """
        generator = np.random.Philox(key=self._key, counter=[0, step, 0, 0])
        words = generator.random_raw(len(self._sizes) * self._batch_size)
        # 53 random bits each: [0, 1) in steps of 2^-53.
        unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (unit.reshape(len(self._sizes), -1) * self._counts).astype(np.int64)


def as_input(pixels: Tensor) -> Tensor:
    """Images as a model takes them: uint8 [N, H, W, C] to float32 [N, C, H, W] in [0, 1].

    Channels stay innermost in memory (torch's channels_last), so nothing is reordered.
    """
    return pixels.permute(0, 3, 1, 2) / 255
