"""Where each hyperparameter is searched unless a sweep says otherwise, and who suggests it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from search.space.ranges import Choice, Fixed, Interval, Range

DOMAINBED = "DomainBed's random search (Gulrajani & Lopez-Paz 2021, arXiv 2007.01434)"
PHOTOGRAPHS = f"{DOMAINBED} for a ResNet-50 pretrained on ImageNet"
SMALL_IMAGES = (
    "DomainBed's random search for small images (facebookresearch/DomainBed at b93c22a: MNIST_CNN "
    "from random weights)"
)
GGA_PAPER = "Ballas & Diou 2025, arXiv 2502.20162"


@dataclass(frozen=True)
class Suggestion:
    """A range and where it comes from."""

    range: Range
    source: str


def _log(low: float, high: float, source: str) -> Suggestion:
    return Suggestion(Interval(low, high, log=True), source)


# By part, `training` being what every algorithm has. Where two parts of an algorithm speak of one
# hyperparameter, the later entry holds: who shapes the ball knows better how large it should be.
RANGES: dict[str, dict[str, Suggestion]] = {
    "training": {
        "lr": _log(1e-5, 10**-3.5, PHOTOGRAPHS),
        "weight_decay": _log(1e-6, 1e-2, PHOTOGRAPHS),
        "dropout": Suggestion(Choice((0, 0.1, 0.5)), PHOTOGRAPHS),
        "batch_size": Suggestion(
            Interval(8, 45, log=True, whole=True),
            f"floor(2^U(3, 5.5)), {PHOTOGRAPHS}; there up to 32 on DomainNet",
        ),
    },
    "SAM": {
        "rho": _log(
            0.005,
            0.5,
            "around the released choice {0.01, 0.02, 0.05, 0.1} (MIRO, SAGM); ResNet-50 trains up "
            "to 0.09 on PACS, 0.06 on OfficeHome (DISAM, arXiv 2405.18861, figure 3)",
        ),
    },
    "GSAM": {
        "rho": _log(0.005, 0.3, "around 0.02 to 0.04 of arXiv 2203.08065, table 4 (ResNet-50)"),
        "alpha": _log(1e-3, 0.7, "0.01 to 1 in arXiv 2203.08065, table 4; 0.001 in GGA's registry"),
    },
    "SAGM": {
        "rho": _log(0.01, 0.3, "around 0.05 of the released code (arXiv 2303.10353)"),
        "alpha": _log(
            1e-4,
            1e-1,
            "around the published best, 5e-4 and 1e-3, which the released random choice "
            "{0.01, 0.02, 0.05, 0.1} leaves out",
        ),
    },
    "GAM": {
        "rho": _log(0.02, 0.5, "around 0.2, set for CIFAR in the released code (arXiv 2303.03108)"),
        "grad_rho": _log(0.002, 0.05, "around 0.02, as rho; below it, as it replaces a limit"),
        "gam_gamma": _log(0.003, 0.3, "around 0.03, as rho"),
        "beta_1": Suggestion(Fixed(1.0), "fixed at 1, as rho; the scale of the gradient"),
        "beta_2": Suggestion(Fixed(1.0), "fixed at -1, as rho, and used without its sign"),
        "beta_3": Suggestion(Fixed(1.0), "fixed at 1, as rho"),
    },
    "DISAM": {
        "rho": _log(0.01, 0.3, "trains up to 0.2 on PACS (arXiv 2405.18861, figure 3)"),
        "lambda": _log(0.01, 2, "stable from 0.1 to 0.7 (arXiv 2405.18861)"),
    },
    "VaSSO": {
        "rho": _log(0.01, 0.5, "around 0.1 in the README of the released code (arXiv 2309.15639)"),
        "theta": Suggestion(
            Interval(0.1, 0.95), "up to 0.9, the released code's default, in arXiv 2309.15639"
        ),
    },
    "F-SAM": {
        "rho": _log(0.01, 0.5, "around 0.2, the released command for CIFAR (arXiv 2403.12350)"),
        "sigma": Suggestion(Fixed(1.0), "fixed in arXiv 2403.12350; or uniform 0 .. 1"),
        "fsam_lambda": Suggestion(
            Interval(0.5, 0.99), "0.6 in the released command, 0.9 and 0.95 elsewhere in that code"
        ),
    },
    "ASAM": {
        "rho": _log(0.05, 5, "ten times SAM's radius (arXiv 2102.11600)"),
        "eta": Suggestion(Fixed(0.01), "fixed in arXiv 2102.11600; or log 0.001 .. 0.1"),
    },
    "ASAM-elementwise": {
        "rho": _log(0.05, 5, "ten times SAM's radius; 2 in the example of davda54/sam"),
    },
    "GGA": {
        "neighborhood": _log(1e-7, 1e-3, f"around the published 1e-6 and 1e-5 ({GGA_PAPER})"),
        "search_steps": Suggestion(
            Interval(10, 250, log=True, whole=True),
            "250 in the released code; each costs 1 or 4/3 training steps in every annealed step",
        ),
        "start": Suggestion(Choice((0, 50, 100, 200)), f"around the published 100 ({GGA_PAPER})"),
        "length": Suggestion(Choice((20, 50, 100)), f"up to the published 100 ({GGA_PAPER})"),
        "tolerance": _log(0.01, 1, "around 0.1, fixed in the released code"),
    },
    "GGA-L": {
        "gamma": _log(1e-5, 1e-1, f"around the default 1e-3 ({GGA_PAPER})"),
    },
    "CORAL": {"coral_gamma": _log(0.1, 10, DOMAINBED)},
    "MMD": {"mmd_gamma": _log(0.1, 10, DOMAINBED)},
    "VREx": {
        "vrex_lambda": _log(0.1, 1e5, DOMAINBED),
        "vrex_anneal": Suggestion(Interval(1, 10_000, log=True, whole=True), DOMAINBED),
    },
    "GroupDRO": {"groupdro_eta": _log(1e-3, 1e-1, DOMAINBED)},
    "IRM": {
        "irm_lambda": _log(0.1, 1e5, DOMAINBED),
        "irm_anneal": Suggestion(Interval(1, 10_000, log=True, whole=True), DOMAINBED),
    },
    "Mixup": {"mixup_alpha": _log(0.1, 10, DOMAINBED)},
    "Fish": {"meta_lr": Suggestion(Choice((0.05, 0.1, 0.5)), DOMAINBED)},
    "Fishr": {
        "fishr_lambda": _log(10, 1e4, DOMAINBED),
        "fishr_anneal": Suggestion(Interval(0, 5000, whole=True), DOMAINBED),
        "fishr_ema": Suggestion(Interval(0.9, 0.99), DOMAINBED),
    },
}


# In the place of the training's, for a network that starts from random weights.
FRESH: dict[str, Suggestion] = {
    "lr": _log(10**-4.5, 10**-2.5, SMALL_IMAGES),
    "weight_decay": Suggestion(Fixed(0.0), SMALL_IMAGES),
    "dropout": Suggestion(Fixed(0.0), f"drawn, but not in the network, in {SMALL_IMAGES}"),
    "batch_size": Suggestion(
        Interval(8, 511, log=True, whole=True), f"int(2^U(3, 9)), {SMALL_IMAGES}"
    ),
}


def suggestions(parts: Iterable[str], fresh: bool = False) -> dict[str, Suggestion]:
    """What the named parts and the training suggest, by hyperparameter; later entries hold.

    `fresh`: for a network that starts from random weights, not from pretrained ones.
    """
    named = {"training", *parts}
    found = {
        name: suggestion
        for part, ranges in RANGES.items()
        if part in named
        for name, suggestion in ranges.items()
    }
    return found | FRESH if fresh else found
