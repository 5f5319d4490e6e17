"""Combinations of networks: soups, ensembles, and the way from the start to a trained one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.evaluation import Part, Score, batch_size_for, chunks, scores_of

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Soup:
    """The mean of the weights of several networks of one architecture, in the order given.

    Rame et al., Diverse Weight Averaging for Out-of-Distribution Generalization (NeurIPS 2022,
    arXiv 2205.09739), equation 3, with the buffers of its released code. An empty soup has no
    state.

    parameters: names of the tensors that are averaged. All other tensors, such as the running
    statistics of batch norm, are those of the first member. members: how many it has. total: sums
    of the averaged tensors in float64, by name. first: the state dict of the first member.
    """

    parameters: frozenset[str]
    members: int = 0
    total: State | None = None
    first: State | None = None

    def plus(self, state: State) -> Soup:
        """The soup with one member more; this one stays as it is.

        Raises ValueError if the member's tensors have other names or shapes than the first's.
        """
        if self.total is None or self.first is None:
            total = {name: state[name].double() for name in state if name in self.parameters}
            return Soup(self.parameters, 1, total, dict(state))
        _check_alike(self.first, state)
        total = {name: own + state[name].double() for name, own in self.total.items()}
        return Soup(self.parameters, self.members + 1, total, self.first)

    def state(self) -> dict[str, Tensor]:
        """The state dict of the mean, in the members' data types.

        Raises ValueError if the soup is empty.
        """
        if self.total is None or self.first is None:
            raise ValueError("a soup without members has no weights")
        return {
            name: (self.total[name] / self.members).to(own.dtype) if name in self.total else own
            for name, own in self.first.items()
        }


def uniform(members: Iterable[State], parameters: Collection[str]) -> Soup:
    """The soup of all members; each is read when its turn comes."""
    soup = Soup(frozenset(parameters))
    for state in members:
        soup = soup.plus(state)
    return soup


def ranking(scores: Sequence[float]) -> list[int]:
    """The positions of the scores from the highest to the lowest, equal ones as they are listed."""
    return sorted(range(len(scores)), key=lambda position: -scores[position])


@dataclass(frozen=True)
class Tried:
    """One step of a greedy soup.

    members: how many the tried soup has. accuracy: of the tried soup, a fraction. accepted: whether
    the candidate stays.
    """

    members: int
    accuracy: float
    accepted: bool


def greedy(
    ranked: Iterable[State],
    parameters: Collection[str],
    accuracy: Callable[[dict[str, Tensor]], float],
) -> tuple[Soup, list[Tried]]:
    """The greedy soup, which DiWA calls restricted, and what became of each candidate.

    A candidate stays if the soup with it is at least as accurate as without it, so ties and the
    first candidate are always accepted. A rejected candidate is not tried again.

    ranked: candidates from the best to the worst (`ranking`); each is read when its turn comes.
    parameters: of Soup. accuracy: of a state dict on validation data, see `pooled`.

    Source: DiWA (see Soup), section 2.4.2 and scripts/diwa.py.
    """
    soup, best = Soup(frozenset(parameters)), float("-inf")
    tried: list[Tried] = []
    for state in ranked:
        with_it = soup.plus(state)
        found = accuracy(with_it.state())
        tried.append(Tried(with_it.members, found, found >= best))
        if found >= best:
            soup, best = with_it, found
    return soup, tried


def interpolated(start: State, end: State, alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) start + alpha end, of every entry, buffers too; counts are those of the end.

    Wortsman et al., Robust fine-tuning of zero-shot models (CVPR 2022, arXiv 2109.01903), equation
    1: WiSE-FT, where the start is zero-shot and the end fine-tuned.

    Raises ValueError if their tensors differ in names or shapes.
    """
    _check_alike(start, end)
    return {
        name: ((1 - alpha) * start[name].double() + alpha * own.double()).to(own.dtype)
        if own.is_floating_point()
        else own
        for name, own in end.items()
    }


def pooled(scores: Iterable[Score]) -> float:
    """The accuracy over all samples of these scores together, however many each part has."""
    listed = list(scores)
    hits = sum(round(score.accuracy * score.count) for score in listed)
    return hits / sum(score.count for score in listed)


def ensemble_scores(
    networks: Iterable[nn.Module], parts: Sequence[Part], device: torch.device
) -> tuple[Score, ...]:
    """A score of each part, in order, of the ensemble that adds up its members' logits.

    The loss is that of the mean logits, whose largest entry is the sum's. Arpit et al., Ensemble
    of Averages (NeurIPS 2022, arXiv 2110.10832), section 4.

    networks: members, in evaluation mode; each is used when its turn comes, so they need not be in
    memory together.
    """
    total: Tensor | None = None
    members = 0
    labels = torch.cat([torch.from_numpy(part.domain.labels[part.indices]) for part in parts])
    for network in networks:
        with torch.inference_mode():
            found = torch.cat(
                [network(x).cpu().double() for x, _ in chunks(parts, device, batch_size_for(parts))]
            )
        total = found if total is None else total + found
        members += 1
    if total is None:
        raise ValueError("an ensemble without members predicts nothing")
    mean = total / members
    return scores_of(
        parts,
        F.cross_entropy(mean, labels, reduction="none"),
        total.argmax(1) == labels,
        mean.softmax(1).amax(1),
    )


def barrier(ends: tuple[float, float], midpoint: float) -> float:
    """By how much the mean of two networks' weights is less accurate than the two on average.

    Near 0, or below it, for networks in one basin, whose weights can be averaged; large for
    networks from different starts, or that have trained far apart. Frankle et al., Linear Mode
    Connectivity and the Lottery Ticket Hypothesis (ICML 2020, arXiv 1912.05671), section 2, at the
    midpoint alone and in accuracy.

    ends, midpoint: accuracies on the same samples.
    """
    return sum(ends) / 2 - midpoint


def _check_alike(first: State, other: State) -> None:
    if first.keys() != other.keys():
        odd = sorted(first.keys() ^ other.keys())[0]
        raise ValueError(f"members must be of one architecture, but not all have a tensor {odd!r}")
    for name, tensor in first.items():
        if tensor.shape != other[name].shape:
            shapes = f"{tuple(tensor.shape)} and {tuple(other[name].shape)}"
            raise ValueError(f"members must be of one architecture, but {name!r} is {shapes}")
