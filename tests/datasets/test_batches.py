"""A batch is a function of (seed, step), and draws each source domain's samples evenly."""

import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from datasets.batches import Batches, DomainBatch
from datasets.domain_dataset import Domain
from datasets.views import Block, Job
from tests.datasets.photos import counted

Sources = list[tuple[Domain, NDArray[np.int64]]]
SKETCH = counted("sketch", 3)


def two_sources() -> Sources:
    return [
        (counted("photo", 10), np.arange(10)),
        (counted("sketch", 50, first=100), np.arange(0, 50, 2)),
    ]


def same(a: DomainBatch, b: DomainBatch) -> bool:
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and torch.equal(a.domain, b.domain)


def test_shapes_and_types_are_those_of_the_docstring() -> None:
    batch = Batches(two_sources(), batch_size=4, seed=0)(0)
    assert (batch.x.shape, batch.x.dtype) == ((8, 1, 2, 3), torch.float32)
    assert (batch.y.shape, batch.y.dtype) == ((8,), torch.int64)
    assert batch.domain.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert batch.sizes == (4, 4)


def test_each_block_holds_its_domains_samples_with_their_labels() -> None:
    batch = Batches(two_sources(), batch_size=64, seed=0)(0)
    photo, sketch = (part[:, 0, 0, 0] for part in torch.split(batch.x, list(batch.sizes)))
    assert torch.equal(torch.cat([photo, sketch]), batch.y / 255)
    assert batch.y[:64].max() < 10
    assert set(batch.y[64:].tolist()) <= set(range(100, 150, 2))


def test_a_batch_depends_on_nothing_but_seed_and_step() -> None:
    batches = Batches(two_sources(), batch_size=4, seed=5)
    forward = [batches(step) for step in range(5)]
    torch.manual_seed(1)
    np.random.seed(1)
    resumed = Batches(two_sources(), batch_size=4, seed=5)
    for step in (3, 1, 4, 0, 2, 3):
        assert same(resumed(step), forward[step])


def test_the_draws_of_a_seed_are_the_recorded_ones() -> None:
    # They must outlive versions of numpy: a trial that is run again meets the same batches.
    batches = Batches(two_sources(), batch_size=3, seed=2**64 - 1)
    assert batches(0).y.tolist() == [2, 7, 4, 134, 116, 138]
    assert batches(10**6).y.tolist() == [4, 2, 0, 144, 138, 140]


def test_seeds_and_steps_give_different_batches() -> None:
    drawn = {
        tuple(Batches(two_sources(), batch_size=8, seed=seed)(step).y.tolist())
        for seed in range(5)
        for step in range(5)
    }
    assert len(drawn) == 25


def test_every_sample_is_drawn_equally_often() -> None:
    batches = Batches([(counted("photo", 10), np.arange(10))], batch_size=100, seed=0)
    counts = np.bincount(np.concatenate([batches(step).y.numpy() for step in range(100)]))
    # Chi-squared with 9 degrees of freedom exceeds 27.9 once in a thousand seeds.
    assert ((counts - 1000) ** 2 / 1000).sum() < 27.9


def test_samples_are_drawn_with_replacement_however_few_there_are() -> None:
    labels = Batches([(counted("photo", 10), np.arange(10))], batch_size=10, seed=0)(0).y
    assert len(set(labels.tolist())) < 10
    assert Batches([(SKETCH, np.array([2]))], batch_size=6, seed=0)(0).y.tolist() == [2] * 6


def test_what_one_source_holds_does_not_shift_the_draws_of_another() -> None:
    longer = [(counted("photo", 20), np.arange(20)), two_sources()[1]]
    a = Batches(two_sources(), batch_size=8, seed=0)(7)
    b = Batches(longer, batch_size=8, seed=0)(7)
    assert torch.equal(a.y[8:], b.y[8:])


def test_a_memory_map_gives_the_batches_of_the_array_it_holds(tmp_path: Path) -> None:
    photo, positions = two_sources()[0]
    np.save(tmp_path / "photo.npy", photo.images)
    mapped = Domain("photo", np.load(tmp_path / "photo.npy", mmap_mode="r"), photo.labels)
    in_memory = Batches([(photo, positions)], batch_size=4, seed=0)(2)
    assert same(Batches([(mapped, positions)], batch_size=4, seed=0)(2), in_memory)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_batch_on_the_gpu_equals_the_one_on_the_cpu() -> None:
    on_cpu = Batches(two_sources(), batch_size=32, seed=0)
    on_gpu = Batches(two_sources(), batch_size=32, seed=0, device="cuda")
    queued = [on_gpu(step) for step in range(50)]  # all under way before the first is looked at
    for step, batch in enumerate(queued):
        assert batch.x.is_cuda
        assert batch.y.is_cuda
        assert batch.domain.is_cuda
        # A GPU multiplies by 1/255 where a CPU divides: the last bit may differ.
        torch.testing.assert_close(batch.x.cpu(), on_cpu(step).x, rtol=2**-23, atol=0)
        assert torch.equal(batch.y.cpu(), on_cpu(step).y)


def a_step_mattering(blocks: Sequence[Block], seed: int, step: int, device: torch.device) -> Job:
    """A view whose images are their labels, the seed and the step; a task for each."""
    x = torch.zeros(sum(map(len, blocks)), 3, 1, 1)
    labels = np.concatenate([block.domain.labels[block.rows] for block in blocks])

    def fill(n: int) -> None:
        time.sleep(0.001 * (n % 3))  # so that threads end in another order
        x[n, :, 0, 0] = torch.tensor([float(labels[n]), seed, step])

    return Job([partial(fill, n) for n in range(len(x))], lambda: x)


def test_images_are_what_the_view_makes_of_the_draws() -> None:
    batch = Batches(two_sources(), batch_size=2, seed=6, view=a_step_mattering)(9)
    assert torch.equal(batch.x[:, 0, 0, 0], batch.y.float())
    assert batch.x[:, 1:, 0, 0].tolist() == [[6, 9]] * 4


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_that_work_ahead_make_the_same_batches(threads: int) -> None:
    alone = Batches(two_sources(), batch_size=4, seed=5, view=a_step_mattering)
    ahead = Batches(two_sources(), batch_size=4, seed=5, view=a_step_mattering, threads=threads)
    for step in (0, 1, 2, 7, 8, 3, 3, 0):
        assert same(ahead(step), alone(step))


def test_the_next_batch_is_made_while_the_last_one_is_in_use() -> None:
    made = threading.Event()

    def view(blocks: Sequence[Block], seed: int, step: int, device: torch.device) -> Job:
        return Job([made.set] if step == 4 else [], lambda: torch.empty(0))

    Batches(two_sources(), batch_size=4, seed=5, view=view, threads=1)(3)
    assert made.wait(timeout=120)


def test_what_goes_wrong_in_a_thread_is_raised_where_the_batch_is_asked_for() -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    def view(blocks: Sequence[Block], seed: int, step: int, device: torch.device) -> Job:
        return Job([fail] if step == 1 else [], lambda: torch.empty(0))

    batches = Batches(two_sources(), batch_size=4, seed=5, view=view, threads=2)
    batches(0)
    with pytest.raises(OSError, match="the disk is gone"):
        batches(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threads": -1}, "threads must be at least 0, but got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, but got 0"),
        ({"seed": -1}, r"seed must be in 0\.\.2\^64 - 1"),
        ({"seed": 2**64}, r"seed must be in 0\.\.2\^64 - 1"),
        ({"sources": []}, "sources must name at least one domain"),
        ({"sources": [(SKETCH, np.arange(0))]}, "source domain 'sketch' has no samples"),
        ({"sources": [(SKETCH, np.array([0, -1]))]}, r"'sketch' must be in 0\.\.2, but .* -1\.\.0"),
        ({"sources": [(SKETCH, np.array([0, 3]))]}, r"'sketch' must be in 0\.\.2, but .* 0\.\.3"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batches(**{"sources": two_sources(), "batch_size": 1, "seed": 0, **change})


def test_a_negative_step_is_refused() -> None:
    with pytest.raises(ValueError, match="step must be at least 0, but got -1"):
        Batches(two_sources(), batch_size=1, seed=0)(-1)
