"""What GGA's annealed step costs, against a straight transcription of its specification.

    python -m benchmarks.gga_search [--models mlp cnn resnet18-64] [--dropout 0 0.5]
        [--search-steps 10] [--image-size 128] [--batch 16] [--rounds 20] [--device cuda]
        [--output gga_search.json]

The transcription has the released code's habits: noise, gradients and copies of weights parameter
by parameter, memory of their own for all of them in every try, the loss by a further forward pass
that keeps its graph, and each decision read from the device. With dropout, which draws anew in each
pass, Steppe needs that forward pass too. The floor is the bare passes of Steppe's step: a forward
and backward pass of each domain in every try, and an ordinary one at the end.

The contestants take turns, an annealed step each, in one process on one thread; the figures are
medians over the rounds of ratios within a round, so that a machine that is slow for a while is slow
for all. Time is the process's CPU time; on a GPU, time until it is done. Models and batches are
those of benchmarks/step_cost.py.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.released_steps import by_domain
from benchmarks.step_contestants import (
    LR,
    Case,
    Contestant,
    asked,
    bare_pass,
    batch_of,
    model_of,
    options,
    said,
    timed,
)
from benchmarks.turns import ratio, taken, write
from datasets.batches import DomainBatch
from models.network import Network
from training import optimizers
from training.algorithms.gga import GGA
from training.composition import compose
from training.draws import Draws, StepDraws
from training.passes import Passes
from training.update import Step, take_step
from training.weights import Weights

MODELS = ("mlp", "cnn", "resnet18-64")


@dataclass(frozen=True)
class Row:
    """An annealed step: milliseconds of each way, and Steppe's ratios to the others."""

    case: str
    dropout: float
    milliseconds: float
    transcription_milliseconds: float
    to_transcription: float
    to_floor: float


def transcription(
    model: Network,
    batch: DomainBatch,
    search: GGA,
    rand: Callable[[Tensor], Tensor] = torch.rand_like,
) -> Callable[[], None]:
    """An annealed step as the specification says it. rand: U(0, 1), shaped like the tensor."""
    adam = torch.optim.Adam(model.parameters(), lr=LR)
    xs, ys = by_domain(batch)
    parameters = list(model.parameters())
    cosine = torch.nn.CosineSimilarity(dim=0)

    def similarity() -> Tensor:
        gradients = []
        for x, y in zip(xs, ys, strict=True):
            loss = F.cross_entropy(model(x), y)
            parts = torch.autograd.grad(loss, parameters, retain_graph=True)
            gradients.append(torch.cat([part.flatten() for part in parts]))
        return min(cosine(one, other) for one, other in itertools.combinations(gradients, 2))

    def step() -> None:
        x, y = torch.cat(xs), torch.cat(ys)
        best = similarity()
        best_loss = F.cross_entropy(model(x), y).item()
        origin = [p.data.clone() for p in parameters]
        kept = [p.data.clone() for p in parameters]
        for _ in range(search.search_steps):
            with torch.no_grad():
                for p in model.featurizer.parameters():
                    p.data += (rand(p) * 2 - 1) * search.neighborhood
            new = similarity()
            new_loss = F.cross_entropy(model(x), y).item()
            if new > best and new_loss - best_loss < search.tolerance:
                best, best_loss = new, new_loss
                kept = [p.data.clone() for p in parameters]
                for p, before in zip(parameters, origin, strict=True):
                    p.data.copy_(before)
        for p, found in zip(parameters, kept, strict=True):
            p.data.copy_(found)
        loss = F.cross_entropy(model(x), y)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        loss.item()

    return step


def steppe(model: Network, batch: DomainBatch, search: GGA, draws: Draws) -> Callable[[], None]:
    """An annealed step as a run makes it."""
    weights = Weights(model)
    update = compose([search])
    optimizer = optimizers.build("adam", weights.flat, LR, 0.0)

    def step() -> None:
        passes = Passes(model, weights, batch)
        take_step(update, Step(search.start, passes, weights, draws), optimizer)

    return step


def floor(model: Network, batch: DomainBatch, search: GGA, dropout: float) -> Callable[[], None]:
    """The passes of Steppe's step, and no use of what they give."""
    xs, ys = by_domain(batch)

    def step() -> None:
        for _ in range(search.search_steps + 1):
            for x, y in zip(xs, ys, strict=True):
                bare_pass(model, x, y)
            if dropout:
                with torch.no_grad():
                    model(batch.x)
        bare_pass(model, batch.x, batch.y)

    return step


def compare(title: str, case: Case, search: GGA, dropout: float, device: torch.device) -> Row:
    """An annealed step of each, in turn, after two rounds to warm up."""
    batch = batch_of(case, device)
    draws = StepDraws(0, 0, device)
    one, other, third = (model_of(Contestant("steppe"), case, batch, dropout) for _ in range(3))
    steps = {
        "steppe": steppe(one, batch, search, draws),
        "transcription": transcription(other, batch, search),
        "floor": floor(third, batch, search, dropout),
    }
    turns = {way: timed(step, 1, device) for way, step in steps.items()}
    ours, theirs, bare = taken(turns, case.rounds, warm_up=2).values()
    return Row(
        title,
        dropout,
        1000 * statistics.median(ours),
        1000 * statistics.median(theirs),
        ratio(ours, theirs),
        ratio(ours, bare),
    )


def table(rows: list[Row]) -> str:
    lines = [f"{'case':12}  dropout        ms  transcription ms  / transcription  / floor"]
    for row in rows:
        lines.append(
            f"{row.case:12}  {row.dropout:7g}  {row.milliseconds:8.1f}"
            f"  {row.transcription_milliseconds:16.1f}"
            f"  {row.to_transcription:15.2f}  {row.to_floor:7.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = options(__doc__, MODELS)
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.0, 0.5])
    parser.add_argument("--search-steps", type=int, default=10, help="tries in an annealed step")
    parser.set_defaults(rounds=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    search = GGA(search_steps=arguments.search_steps)
    rows = []
    for title, dropout in itertools.product(arguments.models, arguments.dropout):
        case = asked(title, arguments)
        rows.append(compare(title, case, search, dropout, arguments.device))
    print(table(rows))
    write(
        arguments.output,
        **said(arguments),
        search_steps=arguments.search_steps,
        rows=[asdict(row) for row in rows],
    )


if __name__ == "__main__":
    main()
