"""The settings that papers and released codes report, and defaults; studies try them first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from search.space import suggested_ranges
from search.space.ranges import Value
from search.space.suggested_ranges import (
    CLIPOOD,
    DENSE,
    EMA,
    ERMPP,
    GENIE,
    HEAD,
    MIRO,
    RANDOM_WEIGHTS,
    SWA,
    SWAD,
    TEXT_HEAD,
    TRAINING,
)

ANY = "any dataset"

DOMAINBED = "DomainBed's defaults (Gulrajani & Lopez-Paz 2021, arXiv 2007.01434)"
# Since ERM++ its code (at b93c22a) has another network by default than its paper, timm's
# resnet50.ram_in1k with batch norm that is not frozen. These numbers are the same for both.
PHOTOGRAPHS = f"{DOMAINBED} for a ResNet-50 pretrained on ImageNet"
SMALL_IMAGES = (
    "DomainBed's defaults for small images (facebookresearch/DomainBed at b93c22a: MNIST_CNN from "
    "random weights)"
)
SAGM = "README of the released code of SAGM (Wang et al. 2023, arXiv 2303.10353)"
DISAM = "Zhang et al. 2024, arXiv 2405.18861"
LORA = f"{suggested_ranges.LORA}, table 9 (RoBERTa)"
GGA = "commands in the README of the released code of GGA (Ballas & Diou 2025, arXiv 2502.20162)"


@dataclass(frozen=True)
class Published:
    """A value and its source.

    default: whether it is a default, of whatever dataset; otherwise it was chosen for the dataset.
    """

    value: Value
    source: str
    default: bool = True


def _all(source: str, **values: Value) -> dict[str, Published]:
    return {name.rstrip("_"): Published(value, source) for name, value in values.items()}


def _sagm(source: str, lr: float, weight_decay: float = 1e-4) -> dict[str, Published]:
    return _all(source, lr=lr, weight_decay=weight_decay, dropout=0.5)


def _disam(lr: float, weight_decay: float = 1e-4) -> dict[str, Published]:
    # "Other settings as SAGM", section 4.1.
    return _sagm(f"{DISAM}: as SAGM", lr, weight_decay)


def _gga(lr: float, neighborhood: float, weight_decay: float = 1e-4) -> dict[str, Published]:
    return _all(GGA, lr=lr, weight_decay=weight_decay, dropout=0.5, neighborhood=neighborhood)


def _miro(
    miro_lambda: float, dropout: float, weight_decay: float, lr: float = 3e-5
) -> dict[str, Published]:
    return _all(MIRO, lr=lr, weight_decay=weight_decay, dropout=dropout, miro_lambda=miro_lambda)


_MNIST = _all(SMALL_IMAGES, lr=1e-3, weight_decay=0.0, dropout=0.0, batch_size=64)

# By part as in suggested_ranges, then by dataset. Later parts hold over earlier ones, datasets over
# ANY.
PUBLISHED: dict[str, dict[str, dict[str, Published]]] = {
    TRAINING: {
        ANY: _all(PHOTOGRAPHS, lr=5e-5, weight_decay=0.0, dropout=0.0, batch_size=32),
        "RotatedMNIST": _MNIST,
        "ColoredMNIST": _MNIST,
    },
    "SAM": {ANY: _all("Foret et al. 2021, arXiv 2010.01412", rho=0.05)},
    "GSAM": {ANY: _all("registry of the released code of GGA", rho=0.05, alpha=0.001)},
    "SAGM": {
        ANY: _all(SAGM, rho=0.05, alpha=0.001),
        "PACS": _sagm(SAGM, 3e-5),
        "VLCS": _sagm(SAGM, 1e-5),
        "OfficeHome": _sagm(SAGM, 1e-5) | _all(SAGM, alpha=5e-4),
        "TerraIncognita": _sagm(SAGM, 1e-5),
        "DomainNet": _sagm(SAGM, 3e-5, weight_decay=1e-6) | _all(SAGM, alpha=5e-4),
    },
    "GAM": {
        ANY: _all(
            "defaults of the released code (Zhang et al. 2023, arXiv 2303.03108), for CIFAR",
            rho=0.2,
            grad_rho=0.02,
            beta_1=1.0,
            beta_2=1.0,
            beta_3=1.0,
            gam_gamma=0.03,
        )
    },
    "DISAM": {
        # Appendix C.1 prints a rho of 0.5, which contradicts section 4.1 and figure 3.
        ANY: _all(f"{DISAM}, section 4.1", rho=0.05, lambda_=0.1),
        "PACS": _disam(3e-5),
        "VLCS": _disam(1e-5),
        "OfficeHome": _disam(1e-5),
        "TerraIncognita": _disam(1e-5) | _all(f"{DISAM}, appendix C.1", rho=0.01, lambda_=0.2),
        "DomainNet": _disam(3e-5, weight_decay=1e-6),
    },
    "VaSSO": {
        ANY: _all(
            "README of the released code (Li & Giannakis 2023, arXiv 2309.15639), for CIFAR",
            rho=0.1,
            theta=0.9,
        )
    },
    "F-SAM": {
        ANY: _all(
            "command of the released code (Li et al. 2024, arXiv 2403.12350), for CIFAR",
            rho=0.2,
            sigma=1.0,
            fsam_lambda=0.6,
        )
    },
    "ASAM": {ANY: _all("Kwon et al. 2021, arXiv 2102.11600 (CIFAR-10)", rho=0.5, eta=0.01)},
    "ASAM-elementwise": {ANY: _all("Kwon et al. 2021, arXiv 2102.11600 (CIFAR-10)", rho=0.5)},
    "GGA": {
        ANY: _all(GGA, neighborhood=1e-5, search_steps=250, start=100, length=100, tolerance=0.1),
        # Where the paper's table and the commands of its code differ, these are the commands'.
        "PACS": _gga(3e-5, neighborhood=1e-5),
        "VLCS": _gga(1e-5, neighborhood=1e-6),
        "OfficeHome": _gga(1e-5, neighborhood=1e-5),
        "TerraIncognita": _gga(1e-5, neighborhood=1e-5),
        "DomainNet": _gga(3e-5, neighborhood=1e-5, weight_decay=1e-6),
    },
    "GGA-L": {ANY: _all("default of the released code (Ballas & Diou 2025)", gamma=1e-3)},
    "CORAL": {ANY: _all(DOMAINBED, coral_gamma=1.0)},
    "MMD": {ANY: _all(DOMAINBED, mmd_gamma=1.0)},
    "VREx": {ANY: _all(DOMAINBED, vrex_lambda=10.0, vrex_anneal=500)},
    "GroupDRO": {ANY: _all(DOMAINBED, groupdro_eta=0.01)},
    "IRM": {ANY: _all(DOMAINBED, irm_lambda=100.0, irm_anneal=500)},
    "Mixup": {ANY: _all(DOMAINBED, mixup_alpha=0.2)},
    "Fish": {ANY: _all(DOMAINBED, meta_lr=0.5)},
    "Fishr": {ANY: _all(DOMAINBED, fishr_lambda=1000.0, fishr_anneal=1500, fishr_ema=0.95)},
    "MIRO": {
        ANY: _all(MIRO, miro_lambda=0.1, miro_lr_mult=10.0),
        # Without an average; with SWAD the training's values are DomainBed's defaults.
        "PACS": _miro(0.01, 0.0, 0.0),
        "VLCS": _miro(0.01, 0.5, 1e-6, lr=1e-5),
        "OfficeHome": _miro(0.1, 0.1, 1e-6),
        "TerraIncognita": _miro(0.1, 0.0, 1e-4),
        "DomainNet": _miro(0.1, 0.1, 0.0),
    },
    # On whatever dataset: what is reported for the benchmarks is of pretrained networks.
    RANDOM_WEIGHTS: {ANY: {name: _MNIST[name] for name in ("lr", "weight_decay", "dropout")}},
    "swad": {
        ANY: _all(SWAD, swad_converge=3, swad_tolerance=6, swad_ratio=0.3),
        "VLCS": _all(SWAD, swad_ratio=0.2),
    },
    "swa": {ANY: _all(SWA, swa_start=0.75) | _all(DENSE, swa_every=1)},
    "sma": {ANY: _all(DENSE, sma_start=100)},
    "erm++": {ANY: _all(ERMPP, ermpp_start=99)},
    "ema": {ANY: _all(EMA, ema_decay=0.999)},
    "bma": {ANY: _all(CLIPOOD, bma_beta=0.5)},
    "MMS": {ANY: _all(CLIPOOD, mms_margin=0.3)},
    TEXT_HEAD: {
        ANY: _all(CLIPOOD, lr=5e-6, weight_decay=0.1, dropout=0.0, batch_size=12),
        **{name: _all(CLIPOOD, lr=5e-6) for name in ("PACS", "VLCS", "TerraIncognita")},
        **{name: _all(CLIPOOD, lr=1e-5) for name in ("OfficeHome", "DomainNet")},
    },
    "head": {ANY: _all(HEAD, lr=5e-5)},
    "lora": {ANY: _all(LORA, lr=4e-4, lora_rank=8, lora_alpha=8)},
    "genie": {ANY: _all(f"defaults of {GENIE}", lr=0.015, genie_average=0.95, genie_drop=0.4)},
}


def published(
    parts: Iterable[str], dataset: str = ANY, fresh: bool = False
) -> dict[str, Published]:
    """The values of the training and of these parts on a dataset, by hyperparameter.

    parts: keys of `PUBLISHED`; names without an entry have no hyperparameter. A dataset without a
    published value has the default, that of ANY; those of DomainBed's training are all defaults.
    fresh: of a network that starts from random weights.
    """
    wanted = {TRAINING, *parts, *([RANDOM_WEIGHTS] if fresh else [])}
    values: dict[str, Published] = {}
    for part, by_dataset in PUBLISHED.items():
        if part in wanted:
            values |= by_dataset[ANY]
            for name, own in by_dataset.get(dataset, {}).items():
                values[name] = replace(own, default=part == TRAINING)
    return values


def published_for(dataset: str) -> list[dict[str, Value]]:
    """The settings that papers chose for a dataset, those of its own; no defaults."""
    return [
        {name: entry.value for name, entry in by_dataset[dataset].items()}
        for part, by_dataset in PUBLISHED.items()
        if part != TRAINING and dataset in by_dataset
    ]
