"""Scores weights that are not being trained, such as a soup, as a run scores its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

import models
from datasets.domain_dataset import DomainDataset
from models.network import Network
from models.torch_private import BatchNorm
from training.combining import ensemble_scores
from training.computation import autocast, backends, device_of
from training.evaluation import Part, Score, evaluate
from training.networks import place
from training.run import Run
from training.run_data import data_of, measure_statistics


class Scorer:
    """The network and the splits of a run; weights are put into it and scored.

    parameters: the names of the tensors that an average of networks averages. The others are
    buffers.

    Raises ValueError for a device that is not there.
    """

    def __init__(self, run: Run, dataset: DomainDataset) -> None:
        self.run = run
        self._dataset = dataset
        self.device = device_of(run.device)
        network = self._built(load=False)
        place(run, self.device, network)
        self.network: nn.Module = network.eval()
        self.parameters = frozenset(name for name, _ in network.named_parameters())
        batch_size = int(run.hyperparameters.get("batch_size", 32))
        self.parts, self._batches = data_of(run, dataset, network.colours, self.device, batch_size)

    def start(self) -> dict[str, Tensor]:
        """The state of the model that the run starts from, as it is built."""
        return dict(self._built(load=True).state_dict())

    def _built(self, load: bool) -> Network:
        """The run's model. load: whether it has its weights, or any."""
        run, dataset = self.run, self._dataset
        head = run.head_of(dataset.classes)
        with torch.random.fork_rng(devices=[]):
            return models.build(
                run.model, head, dataset.image_shape, weights=run.weights, load=load
            )

    @property
    def measures_statistics(self) -> bool:
        """Whether an average needs new running statistics: batch norm is there, and not frozen."""
        trains = self.run.bn == "updated" and self.run.tuning != "head"
        return trains and any(isinstance(m, BatchNorm) for m in self.network.modules())

    def with_statistics(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state of averaged weights, with running statistics measured anew where needed.

        Frozen statistics are the same in all members, and stay.
        """
        if not self.measures_statistics:
            return dict(state)
        self.network.load_state_dict(state)
        with self._computing():
            measure_statistics(self.network, self.run, self._batches, self.device)
        return {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in self.network.state_dict().items()
        }

    def scores(
        self, state: Mapping[str, Tensor], wanted: Callable[[Part], bool]
    ) -> tuple[Score, ...]:
        """Scores of the wanted parts, in order."""
        self.network.load_state_dict(state)
        with self._computing():
            return evaluate(self.network, [p for p in self.parts if wanted(p)], self.device)

    def ensemble_scores(
        self, states: Iterable[Mapping[str, Tensor]], wanted: Callable[[Part], bool]
    ) -> tuple[Score, ...]:
        """Scores of the networks with these weights together, see `combining.ensemble_scores`."""

        def networks() -> Iterator[nn.Module]:
            for state in states:
                self.network.load_state_dict(state)
                yield self.network

        with self._computing():
            parts = [part for part in self.parts if wanted(part)]
            return ensemble_scores(networks(), parts, self.device)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        run = self.run
        with backends(run.tf32, run.deterministic), autocast(run.precision, self.device):
            yield
