"""The algorithms: parts by name, and how a name such as `DISAM+SAGM` becomes an Update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from datasets.spelling import nearest
from training.algorithms.alignment import CORAL, MMD
from training.algorithms.asam import ASAM, ElementwiseASAM
from training.algorithms.disam import DISAM
from training.algorithms.fish import Fish
from training.algorithms.fishr import Fishr
from training.algorithms.fsam import FSAM
from training.algorithms.gam import GAM
from training.algorithms.gga import GGA, GGAL
from training.algorithms.groupdro import GroupDRO
from training.algorithms.gsam import GSAM
from training.algorithms.irm import IRM
from training.algorithms.miro import MIRO
from training.algorithms.mixup import Mixup
from training.algorithms.mms import MMS
from training.algorithms.sagm import SAGM
from training.algorithms.sam import SAM
from training.algorithms.vasso import VaSSO
from training.algorithms.vrex import VREx
from training.composition import climbing, compose, shaping
from training.schedules import CONSTANT, Schedule
from training.update import FORWARD, Update

PARTS: dict[str, type[Any]] = {
    "SAM": SAM,
    "ASAM": ASAM,
    "ASAM-elementwise": ElementwiseASAM,
    "GSAM": GSAM,
    "SAGM": SAGM,
    "GAM": GAM,
    "VaSSO": VaSSO,
    "F-SAM": FSAM,
    "DISAM": DISAM,
    "GGA": GGA,
    "GGA-L": GGAL,
    "CORAL": CORAL,
    "MMD": MMD,
    "VREx": VREx,
    "GroupDRO": GroupDRO,
    "IRM": IRM,
    "Mixup": Mixup,
    "Fish": Fish,
    "Fishr": Fishr,
    "MIRO": MIRO,
    "MMS": MMS,
}

# The name of a run without a step: the model is scored as it is (CLIP and its texts).
ZERO_SHOT = "zero-shot"
# What have no meaning without a text head (models.text_head).
OF_TEXTS = (ZERO_SHOT, "MMS")
# Methods that are a composition here, or a key of the sweep.
KNOWN_AS = {
    "CLIPood": "MMS+BMA",
    "GENIE": "training.optimizer: genie",
    "WiSE-FT": "search.combine: wise-ft",
}

# Radii of the papers, where they differ from SAM's; the last of an algorithm's parts holds.
# Stretched by the weights, a ball needs about ten times SAM's (Kwon et al. 2021).
RADII = {"VaSSO": 0.1, "F-SAM": 0.2, "ASAM": 0.5, "ASAM-elementwise": 0.5}

# Their penalties depend on the featurizer alone, and the annealed search moves nothing else.
ON_FEATURES = ("CORAL", "MMD", "GGA", "MIRO")


def build(name: str, values: Mapping[str, float], schedule: Schedule = CONSTANT) -> Update:
    """The update of an algorithm with these hyperparameters; `schedule` scales its radius.

    Raises ValueError for an unknown name, parts that do not compose, or a hyperparameter that the
    algorithm lacks.
    """
    settings = hyperparameters(name)
    unknown = sorted(values.keys() - settings.keys())
    if unknown:
        known = ", ".join(settings) or "none of its own"
        raise ValueError(f"{name} has no hyperparameter {unknown[0]!r}; it has: {known}")
    return _compose(parse(name), {**settings, **values}, schedule)


@cache
def parse(name: str) -> tuple[str, ...]:
    """Part names of an algorithm; a part that only shapes an ascent is completed by SAM.

    `ERM` and `zero-shot` are (); `DISAM` is (DISAM, SAM). Raises ValueError as `build` does.
    """
    names = () if name in ("ERM", ZERO_SHOT) else tuple(name.split("+"))
    for part in names:
        if part not in PARTS:
            raise ValueError(_unknown(name, part))
        if names.count(part) > 1:
            raise ValueError(f"{name} names {part} twice")
    alone = [PARTS[part]()(Update()) for part in names]
    if any(shaping(update) for update in alone) and not any(map(climbing, alone)):
        names = (*names, "SAM")
    try:
        _compose(names, {}, CONSTANT)
        _refuse_shared_names(names)
    except ValueError as error:
        raise ValueError(f"{name!r} does not compose: {error}") from None
    return names


def hyperparameters(name: str) -> dict[str, float]:
    """Hyperparameters of an algorithm with their defaults, in the order of its parts."""
    names = parse(name)
    values = {key: default for part in names for key, default in part_hyperparameters(part).items()}
    for part, rho in RADII.items():
        if part in names:
            values["rho"] = rho
    return values


def part_hyperparameters(part: str) -> dict[str, float]:
    """The numbers of a part with their defaults; `lambda_` is called lambda everywhere else."""
    return {
        field.name.rstrip("_"): field.default
        for field in fields(PARTS[part])
        if isinstance(field.default, (int, float))
    }


def compares_domains(name: str) -> bool:
    """Whether the algorithm needs at least two source domains to differ from its plain form."""
    return any(PARTS[part].compares_domains for part in parse(name))


def least_samples(name: str) -> int:
    """How many samples of each domain a batch of the algorithm needs."""
    return max((getattr(PARTS[part], "least_samples", 1) for part in parse(name)), default=1)


def passes_per_step(name: str) -> float:
    """Forwards and backwards over a batch of an ordinary step; those of GGA's window cost more."""
    parts = [PARTS[part] for part in parse(name)]
    forwards = [FORWARD * getattr(part, "forwards", 0) for part in parts]
    own = [float(part.cost) - more for part, more in zip(parts, forwards, strict=True)]
    return max(own, default=1.0) + sum(forwards)


def compares_with_start(name: str) -> tuple[str, ...]:
    """The algorithm's parts that compare features with those of the model before training."""
    return tuple(part for part in parse(name) if PARTS[part]()(Update()).anchor is not None)


def works_on_features(name: str) -> tuple[str, ...]:
    """The algorithm's parts that do nothing if the features cannot change."""
    return tuple(part for part in parse(name) if part in ON_FEATURES)


def _compose(names: tuple[str, ...], values: Mapping[str, float], schedule: Schedule) -> Update:
    return compose([_part(name, values, schedule) for name in names], names)


def _refuse_shared_names(names: tuple[str, ...]) -> None:
    """One number may not mean two things."""
    owners: dict[str, str] = {}
    for part in names:
        for key in part_hyperparameters(part):
            if owners.setdefault(key, part) != part:
                raise ValueError(f"{owners[key]} and {part} both have a hyperparameter {key!r}")


def _part(name: str, values: Mapping[str, float], schedule: Schedule) -> Any:
    arguments: dict[str, Any] = {}
    for field in fields(PARTS[name]):
        key = field.name.rstrip("_")
        if key == "schedule":
            arguments[field.name] = schedule
        elif key in values and isinstance(field.default, (int, float)):
            # A whole number that went through a table may come back as 250.0.
            arguments[field.name] = type(field.default)(values[key])
    return PARTS[name](**arguments)


def _unknown(name: str, part: str) -> str:
    if part == "ERM":
        return f"'ERM' in {name!r} is the update without any part; leave it out"
    if part == ZERO_SHOT:
        return f"{ZERO_SHOT!r} in {name!r} is the model without training; it stands alone"
    known = [*PARTS] if "+" in name else ["ERM", ZERO_SHOT, *PARTS]
    near = nearest(part, [*known, *KNOWN_AS])
    if near in KNOWN_AS:
        near = f"{KNOWN_AS[near]}, which is {near}"
    hint = f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
    where = f"{part!r} in {name!r}" if part != name else repr(part)
    return f"unknown algorithm {where}; {hint}"
