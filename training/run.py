"""What one training run is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from datasets.domain_dataset import members
from datasets.randomness import seed_hash
from models.entry import Texts

Evaluations = Literal["needed", "held_out", "all"]


@dataclass(frozen=True)
class Run:
    """Everything that the numbers of one training run depend on.

    held_out: name of the domain that is never trained on, or of a set of them
    (datasets.domain_dataset.set_name). left_out: one more, in a fold of leave-one-domain-out
    cross-validation; the fold is scored on the in splits of all of these, and which of them is
    called which makes no difference to it. steps: updates in all, 0 for the model as it is;
    evaluate_every: updates between two evaluations. hyperparameters: lr, weight_decay, dropout,
    batch_size (per source domain), the algorithm's own, those of the averaging
    (training.averaging) and of the tuning. weights: what the model starts from (models.build); None
    is random. head: `text` starts from the texts of `prompts` (models.text_head), and `text-fixed`
    stays so. tuning: which part of the model trains (models.tuning).

    images: what of the source domains is trained on, their in splits or both. retrain `all-images`:
    a second stage on all of them follows the first (training.retraining).

    start `linear-probe`: the classifier is trained alone before, for start_steps with start_lr and
    start_batch_size (training.start). trains `classifier`: the run is such a probe.

    lr_*: how lr changes, and rho_* how rho does; rho_schedule `lr`: as lr (training.schedules).
    clip_norm: longest final gradient (training.clipping). micro_batches: pieces of a batch
    (training.micro_batches). bn `frozen`: batch norm keeps its running statistics and uses them.
    evaluations: `needed` scores what selection uses, `held_out` the held-out domain's out split
    besides, `all` every split of every domain at every evaluation, as DomainBed does.

    flatness: what is measured of the loss around the selected weights, in a ball of flatness_rho,
    on flatness_samples of each domain (training.flatness); `curvature` includes the sharpness.
    predictions `correct`: whether the selected weights are right on each held-out sample.

    device, precision, tf32, deterministic, channels_last, compile: how it is computed; see
    training.computation.
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
    left_out: str | None = None
    weights: str | None = None
    head: Literal["linear", "text", "text-fixed"] = "linear"
    prompts: tuple[str, ...] = ()
    tuning: Literal["full", "head", "lora"] = "full"
    images: Literal["in", "all"] = "in"
    retrain: Literal["none", "all-images"] = "none"
    start: Literal["model", "linear-probe"] = "model"
    start_steps: int = 0
    start_lr: float = 5e-5
    start_batch_size: int = 32
    trains: Literal["all", "classifier"] = "all"
    optimizer: str = "adam"
    momentum: float = 0.9
    nesterov: bool = False
    lr_schedule: str = "constant"
    lr_warmup: int = 0
    lr_floor: float = 0.0
    lr_drop_at: tuple[float, ...] = (0.8,)
    lr_drop: float = 0.1
    clip_norm: float | None = None
    micro_batches: int = 1
    averaging: str = "none"
    rho_schedule: str = "constant"
    rho_warmup: int = 0
    rho_floor: float = 0.0
    bn: Literal["updated", "frozen"] = "updated"
    bn_second_pass: Literal["frozen", "updated"] = "frozen"
    augmentation: str = "auto"
    evaluations: Evaluations = "needed"
    flatness: Literal["none", "sharpness", "curvature"] = "none"
    flatness_rho: float = 0.05
    flatness_samples: int = 512
    predictions: Literal["none", "correct"] = "none"
    device: str = "cpu"
    precision: str = "fp32"
    tf32: str = "convolutions"
    deterministic: bool = False
    channels_last: bool = False
    compile: bool = False

    @property
    def random_seed(self) -> int:
        """Seed of initial weights, batches and noise.

        The same for every algorithm and trial of a (dataset, held-out domain, seed), so that
        their differences are those of method and hyperparameters, not of luck.
        """
        return seed_hash("steppe", self.dataset, *self.unseen, self.seed)

    def head_of(self, classes: Sequence[str]) -> int | Texts:
        """What models.build makes the head of, for classes with these names."""
        if self.head == "linear":
            return len(classes)
        return Texts(tuple(classes), self.prompts, fixed=self.head == "text-fixed")

    @property
    def unseen(self) -> tuple[str, ...]:
        """The domains that are not trained on, in an order of their own."""
        left_out = () if self.left_out is None else (self.left_out,)
        return tuple(sorted({*members(self.held_out), *left_out}))

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `Run(**run.as_dict())` is the same run."""
        return asdict(self)


def check_fold(run: Run) -> None:
    """Raises ValueError if a fold has what needs the validation of a whole run."""
    whole = {
        "averaging": run.averaging != "none",
        "lr_schedule": run.lr_schedule == "plateau",
    }
    for key, needed in whole.items():
        if run.left_out is not None and needed:
            raise ValueError(
                f"{key} {getattr(run, key)!r} needs the validation of a whole run, and a fold "
                f"(left out: {run.left_out!r}) is scored step by step"
            )
