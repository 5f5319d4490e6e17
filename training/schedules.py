"""How a number changes over the steps of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from training.run import Run

SHAPES = ("constant", "linear", "cosine", "step")


@dataclass(frozen=True)
class Schedule:
    """A factor for each step: a linear warm-up from 0 to 1, then a decay from 1.

    With u = warmup, T = steps and f = (t - u) / (T - u) clamped to [0, 1]:
    t < u: t / u;  constant: 1;  linear: 1 + (floor - 1) f;
    cosine: floor + (1 - floor) (1 + cos(pi f)) / 2;
    step: drop^k, k the number of `drop_at`, fractions of T, that t has reached.

    GSAM's radius (Zhuang et al. 2022): rho_t = rho * factor(t), rho_min = rho * floor.

    Raises ValueError for an unknown shape or numbers out of range.
    """

    shape: str = "constant"
    steps: int = 1
    warmup: int = 0
    floor: float = 0.0
    drop_at: tuple[float, ...] = (0.8,)
    drop: float = 0.1

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"schedule must be one of {', '.join(SHAPES)}, but got {self.shape!r}")
        if not 0 <= self.warmup < max(self.steps, 1):
            raise ValueError(
                f"0 <= warmup < steps must hold, but got (warmup={self.warmup}, steps={self.steps})"
            )
        if not 0 <= self.floor <= 1:
            raise ValueError(f"0 <= floor <= 1 must hold, but got (floor={self.floor})")
        if not 0 <= self.drop <= 1 or not all(0 < at < 1 for at in self.drop_at):
            raise ValueError(
                "0 <= drop <= 1 and 0 < drop_at < 1 must hold, but got "
                f"(drop={self.drop}, drop_at={self.drop_at})"
            )

    def __call__(self, step: int) -> float:
        """The factor of a step, counted from 0."""
        if step < self.warmup:
            return step / self.warmup
        if self.shape == "constant":
            return 1.0
        if self.shape == "step":
            return self.drop ** sum(step / self.steps >= at for at in self.drop_at)
        done = min((step - self.warmup) / (self.steps - self.warmup), 1.0)
        if self.shape == "linear":
            return 1 + (self.floor - 1) * done
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2


CONSTANT = Schedule()


@dataclass
class Plateau:
    """A factor that drops when the validation loss stops falling, and ends the run the third time.

    A loss below (1 - 1e-4) times the best so far is better; after the second in a row that is not,
    the factor is multiplied by `drop`, and the count begins anew. factors: after each evaluation;
    0 where it ends. replayed: those of an earlier run, taken one by one. As torch's
    ReduceLROnPlateau with a patience of 1 in DomainBed's train_autolr (b93c22a; ERM++, Teterwak et
    al. 2023, arXiv 2304.01973).
    """

    drop: float = 0.1
    factor: float = 1.0
    best: float = math.inf
    worse: int = 0
    drops: int = 0
    factors: list[float] = field(default_factory=list)
    replayed: list[float] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.drops >= MOST_DROPS

    def evaluated(self, loss: float) -> None:
        """The validation loss of the next evaluation; it does not matter to a replay."""
        if self.replayed:
            self.factor = self.replayed[len(self.factors)]
            self.factors.append(self.factor)
            return
        if loss < self.best * (1 - 1e-4):
            self.best, self.worse = loss, 0
        else:
            self.worse += 1
        if self.worse > 1:
            self.factor, self.worse, self.drops = self.factor * self.drop, 0, self.drops + 1
        self.factors.append(0.0 if self.ended else self.factor)


MOST_DROPS = 3


def schedules_of(run: Run) -> tuple[Schedule, Schedule]:
    """The schedules of lr and of rho; of `plateau`, what holds besides."""
    shape = "constant" if run.lr_schedule == "plateau" else run.lr_schedule
    lr = Schedule(shape, run.steps, run.lr_warmup, run.lr_floor, run.lr_drop_at, run.lr_drop)
    if run.rho_schedule == "lr":
        return lr, lr
    return lr, Schedule(run.rho_schedule, run.steps, run.rho_warmup, run.rho_floor)
