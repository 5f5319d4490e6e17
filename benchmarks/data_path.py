"""Images per CPU second: decoded once and augmented in threads, against the field's loaders.

    python -m benchmarks.data_path [--images 192] [--rounds 9] [--output data_path.json]

The incumbent is what DomainBed and its descendants do: Pillow decodes a JPEG for every sample,
torchvision transforms it, in a DataLoader's worker process. Its CPU time is that of the worker and
of the process that takes its batches; `in process` is the same loader without a worker.

All contestants take turns, a few batches of 32 each, on one thread; the figures are medians over
the rounds of ratios within a round, so that a machine that is slow for a while is slow for all.
Time is CPU time. Images are parts of two photographs, as JPEGs of 227 x 227 (as PACS has them) and
500 x 375 pixels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time, sleep

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

import datasets
from benchmarks import pixel_differences
from benchmarks.turns import aligned, ratio, taken, write
from datasets.augmentation.by_name import view
from datasets.batches import Batches
from datasets.domain_dataset import Domain
from datasets.input_format import IMAGENET
from datasets.views import Block, Job, View

DOMAIN, CLASSES = "photographs", ("china", "flower")
BATCH = 32
CASES = {"227": (227, 227), "500x375": (500, 375)}  # width and height of the JPEGs
# Sides of the squares, and of what crops are cut from (0: the squares).
STORED = {"224": (224, 0), "224-512": (224, 512)}

NORMALISED = (transforms.ToTensor(), transforms.Normalize(IMAGENET.mean, IMAGENET.deviation))
TRAINING = transforms.Compose(
    [
        transforms.RandomResizedCrop(224, scale=(0.7, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.3, 0.3, 0.3, 0.3),
        transforms.RandomGrayscale(),
        *NORMALISED,
    ]
)
EVALUATION = transforms.Compose([transforms.Resize((224, 224)), *NORMALISED])

# Does a turn of work and returns CPU milliseconds per image.
Contestant = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """A way to make images, and its cost.

    milliseconds: CPU time per image. to_loader, to_in_process: images per CPU second, relative to
    the incumbent with a worker and without. mean_difference: of pixels, of 255, to torchvision's
    with the same draws from the JPEG; None where pixels are not made.
    """

    jpegs: str
    stored: str | None
    name: str
    milliseconds: float
    to_loader: float
    to_in_process: float
    mean_difference: float | None


@dataclass(frozen=True)
class Built:
    """A cache: CPU milliseconds and bytes per image."""

    jpegs: str
    stored: str
    milliseconds: float
    bytes: float


def write_jpegs(folder: Path, size: tuple[int, int], count: int) -> Path:
    """Parts of scikit-learn's two photographs, some mirrored; returns the dataset's root."""
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    rng = np.random.default_rng(0)
    for k, label in enumerate(CLASSES):
        (folder / DOMAIN / label).mkdir(parents=True)
        # A dataset has two domains; of this one nothing is measured.
        (folder / "whole" / label).mkdir(parents=True)
        photographs[k].resize(size).save(folder / "whole" / label / "0.jpg", quality=90)
    for k in range(count):
        photograph = photographs[k % 2]
        left, top = rng.integers(0, (140, 52))
        part = photograph.crop((left, top, left + 500, top + 375)).resize(size)
        if rng.random() < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        part.save(folder / DOMAIN / CLASSES[k % 2] / f"{k:04}.jpg", quality=90)
    return folder


class Stamped(Dataset[tuple[torch.Tensor, int, float]]):
    """Samples, each with the CPU time that its process had used when it was made."""

    def __init__(self, root: Path, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self._images = ImageFolder(str(root), transform)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, float]:
        x, y = self._images[index]
        return x, y, process_time()


def incumbent(
    root: Path, transform: Callable[[Image.Image], torch.Tensor], workers: int, batches: int
) -> Contestant:
    """DomainBed's InfiniteDataLoader, each turn `batches` batches."""
    dataset = Stamped(root, transform)
    sampler = RandomSampler(dataset, replacement=True, num_samples=10**9)
    loader = DataLoader(
        dataset, batch_sampler=BatchSampler(sampler, BATCH, False), num_workers=workers
    )
    stream: Iterator[list[torch.Tensor]] = iter(loader)
    last = float(next(stream)[2][-1])

    def turn() -> float:
        nonlocal last
        began, before = process_time(), last
        for _ in range(batches):
            stamps = next(stream)[2]
        own = process_time() - began
        last = float(stamps[-1])
        if workers:
            sleep(0.3)  # until the worker has filled its queue, and rests
        return 1000 * (own + (last - before if workers else 0)) / (batches * BATCH)

    return turn


def ours(domain: Domain, view: View, batches: int) -> Contestant:
    """Steppe's batches of one source domain."""
    make = Batches([(domain, np.arange(len(domain)))], BATCH, seed=0, view=view)
    step = 0

    def turn() -> float:
        nonlocal step
        began = process_time()
        for _ in range(batches):
            make(step)
            step += 1
        return 1000 * (process_time() - began) / (batches * BATCH)

    return turn


def on_host_only(view: View) -> View:
    """What the view does on the host; what it would do on a GPU is left out."""

    def without_finish(blocks: Sequence[Block], seed: int, step: int, device: torch.device) -> Job:
        return Job(view(blocks, seed, step, device).tasks, lambda: torch.empty(0))

    return without_finish


def load(root: Path, size: int, originals: int) -> tuple[Domain, float]:
    """The images as stored, and the CPU seconds that it took to decode and store them."""
    began = process_time()
    dataset = datasets.load("ImageFolders", root, size=size, originals=originals)
    return dataset.domains[0], process_time() - began


def compare(
    case: str, folder: Path, images: int, rounds: int, batches: int
) -> tuple[list[Row], list[Built]]:
    """The rows of one size of JPEGs."""
    root = write_jpegs(folder / case, CASES[case], images)
    jpegs = root / DOMAIN
    stored, built = {}, []
    for size, sides in STORED.items():
        stored[size], seconds = load(root, *sides)
        kept = stored[size].originals
        pixels = (stored[size].images.nbytes + (0 if kept is None else kept.pixels.nbytes)) / images
        built.append(Built(case, size, 1000 * seconds / images, pixels))
    train: dict[str, Contestant] = {
        "loader": incumbent(jpegs, TRAINING, 1, batches),
        "in process": incumbent(jpegs, TRAINING, 0, batches),
    }
    test = {
        "loader": incumbent(jpegs, EVALUATION, 1, batches),
        "in process": incumbent(jpegs, EVALUATION, 0, batches),
    }
    differences: dict[str, float] = {}
    for size, domain in stored.items():
        exact, device, none = (view(name, IMAGENET) for name in ("exact", "device", "none"))
        train[f"exact {size}"] = ours(domain, exact, batches)
        train[f"device, host work {size}"] = ours(domain, on_host_only(device), 10 * batches)
        if size == "224":
            train[f"floor: gather, normalise {size}"] = ours(domain, none, batches)
        test[f"evaluation {size}"] = ours(domain, none, batches)
        found = pixel_differences.to_jpegs(root, domain)
        differences[f"exact {size}"] = found.exact
        differences[f"device, host work {size}"] = found.device
        differences[f"evaluation {size}"] = found.evaluation
    rows = [
        row
        for contestants, of in ((train, "training"), (test, "evaluation"))
        for row in _rows(case, of, taken(contestants, rounds, 1), differences)
    ]
    return rows, built


def _rows(
    case: str, of: str, times: dict[str, list[float]], differences: dict[str, float]
) -> list[Row]:
    rows = []
    for name, values in times.items():
        words, _, size = name.rpartition(" ")
        ours = size in STORED
        rows.append(
            Row(
                case,
                size if ours else None,
                words if ours else f"{of}: {name}",
                statistics.median(values),
                ratio(times["loader"], values),
                ratio(times["in process"], values),
                differences.get(name),
            )
        )
    return rows


def table(rows: list[Row], built: list[Built]) -> str:
    lines: list[tuple[str, ...]] = [
        ("JPEGs", "stored", "what", "ms", "x loader", "x in process", "mean difference")
    ]
    for row in rows:
        difference = "" if row.mean_difference is None else f"{row.mean_difference:.2f}"
        lines.append(
            (
                row.jpegs,
                row.stored or "",
                row.name,
                f"{row.milliseconds:.3f}",
                f"{row.to_loader:.1f}",
                f"{row.to_in_process:.1f}",
                difference,
            )
        )
    text = aligned(lines, left=3)
    for b in built:
        text.append(
            f"decoding {b.jpegs} once into {b.stored}: {b.milliseconds:.2f} ms of CPU time and "
            f"{b.bytes:.0f} bytes per image"
        )
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jpegs", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, default=4, help="of each contestant in each round")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, built = [], []
    for case in arguments.jpegs:
        with tempfile.TemporaryDirectory() as folder:
            of_case = compare(
                case, Path(folder), arguments.images, arguments.rounds, arguments.batches
            )
        rows += of_case[0]
        built += of_case[1]
    print(table(rows, built))
    write(
        arguments.output,
        rounds=arguments.rounds,
        rows=[asdict(row) for row in rows],
        built=[asdict(b) for b in built],
    )


if __name__ == "__main__":
    main()
