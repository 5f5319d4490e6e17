"""How stored images become what a network is given: work on the host, then on its device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datasets.domain_dataset import Domain


@dataclass(frozen=True, eq=False)
class Block:
    """Samples of one domain: `rows` int64 [n] of its images."""

    domain: Domain
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Original width and height of each sample, int64 [n, 2]."""
        if self.domain.sizes is not None:
            return self.domain.sizes[self.rows]
        return self.squares().sizes

    def squares(self) -> Pictures:
        """The images that are all of one size."""
        images = self.domain.images
        _, height, width, channels = images.shape
        starts = self.rows * (height * width * channels)
        return Pictures(images.reshape(-1), starts, np.tile([width, height], (len(self), 1)))

    def crop_sources(self) -> Pictures:
        """The images that training crops are cut from."""
        kept = self.domain.originals
        if kept is None:
            return self.squares()
        return Pictures(kept.pixels, kept.starts[self.rows], kept.sizes[self.rows])


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images of any sizes in one piece of memory.

    pixels: uint8 [bytes]. starts: int64 [n], where in it each image begins. sizes: int64 [n, 2],
    width and height of each.
    """

    pixels: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Job:
    """The images of a batch in the making.

    tasks: the work on the host, in any order, each in any thread.
    finish: when all of it is done, gives x float32 [N, C, H, W] on the device, not waiting
    for a GPU.
    """

    tasks: Sequence[Callable[[], None]]
    finish: Callable[[], Tensor]

    def run(self) -> Tensor:
        """The images, made in this thread."""
        for task in self.tasks:
            task()
        return self.finish()


# (blocks of samples in order, seed, step, device) -> their images. What is random in it depends on
# nothing else; for evaluation seed and step are 0.
View = Callable[[Sequence[Block], int, int, torch.device], Job]


def as_stored(blocks: Sequence[Block], seed: int, step: int, device: torch.device) -> Job:
    """The pixels as they are, in [0, 1]."""
    gathering = gather(blocks, device)
    return Job(gathering.tasks, lambda: as_input(gathering.pixels.to(device, non_blocking=True)))


def as_input(pixels: Tensor) -> Tensor:
    """Images as a model takes them: uint8 [N, H, W, C] to float32 [N, C, H, W] in [0, 1].

    Channels stay innermost in memory (torch's channels_last), so nothing is reordered.
    """
    return pixels.permute(0, 3, 1, 2) / 255


@dataclass(frozen=True, eq=False)
class Gathering:
    """Stored pixels uint8 [N, H, W, C] on the host, once the tasks are done."""

    pixels: Tensor
    tasks: Sequence[Callable[[], None]]


def gather(blocks: Sequence[Block], device: torch.device) -> Gathering:
    """The samples' stored pixels, where they can be moved to the device without waiting."""
    count = sum(map(len, blocks))
    shape = blocks[0].domain.images.shape[1:]
    pixels = host_buffer((count, *shape), torch.uint8, device)
    out, tasks, first = pixels.numpy(), list[Callable[[], None]](), 0
    for block in blocks:
        tasks.append(partial(_take, block, out[first : first + len(block)]))
        first += len(block)
    return Gathering(pixels, tasks)


def _take(block: Block, out: NDArray[np.uint8]) -> None:
    # "clip" lets numpy write straight into the batch; no row is ever out of range.
    block.domain.images.take(block.rows, axis=0, out=out, mode="clip")


def host_buffer(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Memory on the host for what goes to the device.

    For a GPU it is page-locked: the copy need not be waited for, and torch's allocator does not
    hand the memory out again before the copy is done.
    """
    return torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")
