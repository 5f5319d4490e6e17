"""The range of each hyperparameter unless a sweep gives another one, and its source."""

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
SWAD = "Cha et al. 2021, arXiv 2102.08604, and its released code"
SWA = "Izmailov et al. 2018, arXiv 1803.05407"
DENSE = "Arpit et al. 2022, arXiv 2110.10832"
ERMPP = "Teterwak et al. 2023, arXiv 2304.01973"
CLIPOOD = "Shu et al. 2023, arXiv 2302.00864"
WISE_FT = "Wortsman et al. 2022, arXiv 2109.01903, and its released code"
EMA = "Tarvainen & Valpola 2017, arXiv 1703.01780"
MIRO = "README of the released code of MIRO (Cha et al. 2022, arXiv 2203.10789)"
GENIE = "the released code of GENIE (00ssum/GENIE at 9785479)"
LORA = "Hu et al. 2021, arXiv 2106.09685"
HEAD = (
    f"linear_lr, the rate of ERM++ while its classifier alone trains ({ERMPP}), in DomainBed at "
    "b93c22a"
)

TRAINING = "training"
RANDOM_WEIGHTS = "random weights"
TEXT_HEAD = "text head"


@dataclass(frozen=True)
class Suggestion:
    """A range and where it comes from."""

    range: Range
    source: str


def _log(low: float, high: float, source: str) -> Suggestion:
    return Suggestion(Interval(low, high, log=True), source)


# One range for all that climb to the same kind of ball, so that none has more hopeless draws.
RADIUS = _log(
    0.01,
    0.2,
    "one for SAM's family, from its smallest published radius (arXiv 2405.18861, TerraIncognita; "
    "the released choice of MIRO and SAGM) to its largest (arXiv 2303.03108 and 2403.12350)",
)
STRETCHED_RADIUS = _log(
    0.1, 2, "ten times SAM's (arXiv 2102.11600); the example of davda54/sam has 2"
)


# By what has the hyperparameter: the training of every trial, the training of a network that starts
# from random weights, a part of an algorithm, an averaging, a tuning, an optimizer. If a trial has
# the same hyperparameter twice, the later entry holds: ASAM's radius over SAM's, as ASAM shapes the
# ball.
RANGES: dict[str, dict[str, Suggestion]] = {
    TRAINING: {
        "lr": _log(1e-5, 10**-3.5, PHOTOGRAPHS),
        "weight_decay": _log(1e-6, 1e-2, PHOTOGRAPHS),
        "dropout": Suggestion(Choice((0, 0.1, 0.5)), PHOTOGRAPHS),
        "batch_size": Suggestion(
            Interval(8, 45, log=True, whole=True),
            f"floor(2^U(3, 5.5)), {PHOTOGRAPHS}; there up to 32 on DomainNet",
        ),
    },
    RANDOM_WEIGHTS: {
        "lr": _log(10**-4.5, 10**-2.5, SMALL_IMAGES),
        "weight_decay": Suggestion(Fixed(0.0), SMALL_IMAGES),
        "dropout": Suggestion(Fixed(0.0), f"drawn, but not in the network, in {SMALL_IMAGES}"),
        "batch_size": Suggestion(
            Interval(8, 511, log=True, whole=True), f"int(2^U(3, 9)), {SMALL_IMAGES}"
        ),
    },
    "SAM": {
        "rho": RADIUS,
    },
    "GSAM": {
        "rho": RADIUS,
        # Not SAGM's alpha: a share of a part of the gradient.
        "alpha": _log(1e-4, 1, "0.01 to 1 in arXiv 2203.08065, table 4; 0.001 in GGA's registry"),
    },
    "SAGM": {
        "rho": RADIUS,
        "alpha": _log(
            1e-4,
            1e-1,
            "around the published best, 5e-4 and 1e-3, which the released random choice "
            "{0.01, 0.02, 0.05, 0.1} leaves out",
        ),
    },
    "GAM": {
        "rho": RADIUS,
        "grad_rho": _log(
            0.002, 0.05, "around 0.02, set for CIFAR in the released code (arXiv 2303.03108)"
        ),
        "gam_gamma": _log(0.003, 0.3, "around 0.03, as grad_rho"),
        "beta_1": Suggestion(Fixed(1.0), "fixed at 1, as grad_rho; the scale of the gradient"),
        "beta_2": Suggestion(Fixed(1.0), "fixed at -1, as grad_rho, and used without its sign"),
        "beta_3": Suggestion(Fixed(1.0), "fixed at 1, as grad_rho"),
    },
    "DISAM": {
        "rho": RADIUS,
        "lambda": _log(0.01, 2, "stable from 0.1 to 0.7 (arXiv 2405.18861)"),
    },
    "VaSSO": {
        "rho": RADIUS,
        "theta": Suggestion(
            Interval(0.1, 0.95), "up to 0.9, the released code's default, in arXiv 2309.15639"
        ),
    },
    "F-SAM": {
        "rho": RADIUS,
        "sigma": Suggestion(Fixed(1.0), "fixed in arXiv 2403.12350; or uniform 0 .. 1"),
        "fsam_lambda": Suggestion(
            Interval(0.5, 0.99), "0.6 in the released command, 0.9 and 0.95 elsewhere in that code"
        ),
    },
    "ASAM": {
        "rho": STRETCHED_RADIUS,
        "eta": Suggestion(Fixed(0.01), "fixed in arXiv 2102.11600; or log 0.001 .. 0.1"),
    },
    "ASAM-elementwise": {"rho": STRETCHED_RADIUS},
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
    "MIRO": {
        "miro_lambda": _log(1e-3, 1, f"0.01 and 0.1, and 0.001 to 1 of other pretraining ({MIRO})"),
        "miro_lr_mult": Suggestion(Fixed(10.0), f"not searched in the {MIRO}"),
    },
    "swad": {
        "swad_converge": Suggestion(Choice((3, 5)), f"from 3 up ({SWAD})"),
        "swad_tolerance": Suggestion(Choice((4, 6, 8)), f"around 6 ({SWAD})"),
        "swad_ratio": Suggestion(Interval(0.1, 0.5), f"around 0.3, and 0.2 on VLCS ({SWAD})"),
    },
    "swa": {
        "swa_start": Suggestion(
            Interval(0.0, 0.9), f"around 0.75 ({SWA}), or from early on ({DENSE})"
        ),
        "swa_every": Suggestion(Fixed(1), f"every step ({DENSE}); an epoch in {SWA}"),
    },
    "sma": {
        "sma_start": Suggestion(
            Fixed(100), f"not searched in {DENSE}; 600 in {ERMPP}, after 500 linear steps"
        ),
    },
    "erm++": {
        "ermpp_start": Suggestion(Fixed(99), f"600, less the 501 updates of its probe ({ERMPP})"),
    },
    "ema": {"ema_decay": Suggestion(Choice((0.99, 0.999)), EMA)},
    "bma": {
        "bma_beta": Suggestion(
            Choice((0.1, 0.5, 1)), f"0.5, and 0.1 for unknown classes ({CLIPOOD}); 1 is the mean"
        ),
    },
    "MMS": {
        "mms_margin": Suggestion(Interval(0, 0.5), f"around 0.3, and 0.1 in the wild ({CLIPOOD})"),
    },
    TEXT_HEAD: {
        "lr": _log(1e-6, 3e-5, f"around 5e-6 and 1e-5 ({CLIPOOD}), to 3e-5 ({WISE_FT})"),
        "weight_decay": Suggestion(Fixed(0.1), f"AdamW's, not searched ({CLIPOOD}; {WISE_FT})"),
        "dropout": Suggestion(Fixed(0.0), f"not used ({CLIPOOD}; {WISE_FT})"),
    },
    "head": {"lr": _log(1e-5, 10**-3.5, HEAD)},
    "lora": {
        "lr": _log(
            1e-4,
            1e-2,
            f"around 4e-4 and 5e-4 of table 9 ({LORA}), and up, as few parameters take larger "
            "steps; of language models, as no search of it on domains is published",
        ),
        "lora_rank": Suggestion(Choice((2, 4, 8, 16)), f"around 8; 1 to 64 in table 6 ({LORA})"),
        # "Tuning alpha is roughly the same as tuning the learning rate", section 4.1.
        "lora_alpha": Suggestion(Fixed(8), f"not searched in {LORA}"),
    },
    # The last, as its rate holds whatever is trained by it.
    "genie": {
        "lr": _log(1e-3, 1e-1, f"convergence_rate of {GENIE}"),
        "genie_average": Suggestion(Interval(0.9, 0.999), f"moving_avg of {GENIE}"),
        "genie_drop": Suggestion(Interval(0.1, 0.8), f"p of {GENIE}"),
    },
}


def suggestions(parts: Iterable[str], fresh: bool = False) -> dict[str, Suggestion]:
    """The suggested ranges of the training and of these parts, by hyperparameter.

    parts: keys of `RANGES`; names without an entry have no hyperparameter. fresh: the network
    starts from random weights instead of pretrained ones.
    """
    wanted = {TRAINING, *parts, *([RANDOM_WEIGHTS] if fresh else [])}
    return {
        name: suggestion
        for part, ranges in RANGES.items()
        if part in wanted
        for name, suggestion in ranges.items()
    }
