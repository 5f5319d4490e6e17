"""What one training run is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from datasets.splits import seed_hash


@dataclass(frozen=True)
class Run:
    """Everything that the numbers of one training run depend on.

    held_out: name of the domain that is never trained on. hyperparameters: lr, weight_decay,
    dropout, batch_size (per source domain) and the algorithm's own. steps: updates in all;
    evaluate_every: updates between two evaluations. rho_schedule, rho_warmup (steps), rho_floor
    (fraction of rho): see training.schedules. evaluations: `needed` scores what selection uses,
    `all` every split of every domain at every evaluation, as DomainBed does.
    """

    dataset: str
    root: str | None
    model: str
    algorithm: str
    held_out: str
    seed: int
    steps: int
    evaluate_every: int
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    optimizer: str = "adam"
    momentum: float = 0.9
    rho_schedule: str = "constant"
    rho_warmup: int = 0
    rho_floor: float = 0.0
    bn_second_pass: Literal["frozen", "updated"] = "frozen"
    evaluations: Literal["needed", "all"] = "needed"
    device: str = "cpu"

    @property
    def random_seed(self) -> int:
        """Seed of initial weights, batches and noise.

        The same for every algorithm and trial of a (dataset, held-out domain, seed), so that
        their differences are those of method and hyperparameters, not of luck.
        """
        return seed_hash("steppe", self.dataset, self.held_out, self.seed)

    @property
    def root_path(self) -> Path | None:
        return None if self.root is None else Path(self.root)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `Run(**run.as_dict())` is the same run."""
        return asdict(self)
