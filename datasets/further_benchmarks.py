"""Benchmarks beside the main five: folders, classes and images per domain, as published.

Layouts: facebookresearch/DomainBed, p-lambda/wilds and the authors' pages. Numbers of images are
those of the papers; without them nothing is compared.
"""

from __future__ import annotations

from datasets.arranged import (
    GROUPS,
    Arrange,
    camelyon,
    digits_dg,
    fmow,
    many_to_many,
    office31,
    one_to_one,
)
from datasets.benchmarks import BENCHMARKS, Benchmark


def _spawrious(kind: str, arrange: Arrange) -> Benchmark:
    return Benchmark(
        folder="spawrious224",
        classes=4,
        order=("Test", *GROUPS),
        variants={"published": {"Test": 25344, **dict.fromkeys(GROUPS, 12672)}},
        sentence=f"50,688 synthetic photographs of 4 dog breeds whose backgrounds mislead: {kind}.",
        source="Lynch et al., 2023 (MIT); dropbox.com/s/e40j553480h3f3s/spawrious224.tar.gz?dl=1",
        arrange=arrange,
        markers=("0", "1"),
        held_out=("Test",),
        cropped=False,
    )


FURTHER = {
    "SVIRO": Benchmark(
        folder="sviro",
        classes=7,
        order=(
            *("aclass", "escape", "hilux", "i3", "lexus"),
            *("tesla", "tiguan", "tucson", "x5", "zoe"),
        ),
        variants={},
        total=56000,
        sentence="56,000 synthetic grey images of rear seats in ten cars, by 7 kinds of occupant.",
        source="Dias Da Cruz et al., 2020 (CC BY-NC-SA 4.0); sviro.kl.dfki.de/?wpdmdl=1731",
    ),
    "WILDSCamelyon": Benchmark(
        folder="camelyon17_v1.0",
        classes=2,
        variants={
            "published": {
                "hospital_0": 59436,
                "hospital_1": 34904,
                "hospital_2": 85054,
                "hospital_3": 129838,
                "hospital_4": 146722,
            }
        },
        sentence="455,954 patches of lymph nodes from five hospitals, with tumour (1) or without.",
        source="Bandi et al., 2018; Koh et al., 2021 (CC0); WILDS' camelyon17_v1.0",
        arrange=camelyon,
        markers=("metadata.csv", "patches"),
    ),
    "WILDSFMoW": Benchmark(
        folder="fmow_v1.1",
        classes=62,
        order=tuple(f"region_{number}" for number in range(6)),
        variants={},
        gaps=True,
        sentence="Satellite images of 62 kinds of land use in six regions of the world.",
        source="Christie et al., 2018; Koh et al., 2021 (FMoW Challenge Public Licence); WILDS' "
        "fmow_v1.1",
        arrange=fmow,
        markers=("rgb_metadata.csv", "country_code_mapping.csv", "images"),
    ),
    "SpawriousO2OEasy": _spawrious(
        "each breed before one background, easy",
        one_to_one("desert jungle dirt snow", "dirt snow desert jungle", "beach"),
    ),
    "SpawriousO2OMedium": _spawrious(
        "each breed before one background, medium",
        one_to_one("mountain beach dirt jungle", "jungle dirt beach snow", "desert"),
    ),
    "SpawriousO2OHard": _spawrious(
        "each breed before one background, hard",
        one_to_one("jungle mountain snow desert", "mountain snow desert jungle", "beach"),
    ),
    "SpawriousM2MEasy": _spawrious(
        "pairs of breeds before two backgrounds, easy",
        many_to_many("desert mountain dirt jungle", "dirt jungle mountain desert"),
    ),
    "SpawriousM2MMedium": _spawrious(
        "pairs of breeds before two backgrounds, medium",
        many_to_many("beach snow mountain desert", "desert mountain beach snow"),
    ),
    "SpawriousM2MHard": _spawrious(
        "pairs of breeds before two backgrounds, hard",
        many_to_many("dirt jungle snow beach", "snow beach dirt jungle"),
    ),
    "Office31": Benchmark(
        folder="office31",
        classes=31,
        variants={"published": {"amazon": 2817, "dslr": 498, "webcam": 795}},
        sentence="4,110 images of 31 office objects from a shop's pages and two cameras.",
        source="Saenko et al., 2010; the folders amazon, dslr and webcam of Office-31",
        arrange=office31,
    ),
    "DigitsDG": Benchmark(
        folder="digits_dg",
        classes=10,
        variants={"published": dict.fromkeys(("mnist", "mnist_m", "svhn", "syn"), 6000)},
        sentence="24,000 digits from four collections, 600 of each.",
        source="Zhou et al., 2020; digits_dg.zip of Dassl",
        arrange=digits_dg,
    ),
}

KNOWN = BENCHMARKS | FURTHER  # all that lie in folders
