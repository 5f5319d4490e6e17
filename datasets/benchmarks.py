"""The five image benchmarks of the field as published: folders, classes, images per domain.

Layout and counts: facebookresearch/DomainBed and what its download script makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from datasets.arranged import Arrange

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Benchmark:
    """What is known of a benchmark before it is seen.

    folder: its folder below the root.
    classes: the number of classes.
    variants: copies in use, by name: domain -> images; the first one is the usual.
    defects: copies that need something done first: what, and domain -> images.
    sentence, source: as of `Description`.
    order: the domains, if they are not numbered by name or `variants` is empty, as the images per
    domain are not known here.
    total: the number of all images, where only that is known.
    gaps: whether domains lack classes as published.
    arrange: how files are found where folders are not domain/class/image.
    markers: what its folder holds, if not the domains.
    held_out: the domains that may be held out, if not all.
    cropped: as of `DomainDataset`.
    """

    folder: str
    classes: int
    variants: Mapping[str, Counts]
    sentence: str
    source: str
    defects: Mapping[str, Counts] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    total: int | None = None
    gaps: bool = False
    arrange: Arrange | None = None
    markers: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    cropped: bool = True

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains as DomainBed numbers them: sorted, unless it has another order."""
        return self.order or tuple(sorted(next(iter(self.variants.values()))))

    @property
    def inside(self) -> tuple[str, ...]:
        """What lies in its folder and tells it from others."""
        return self.markers or self.domains


BENCHMARKS = {
    "PACS": Benchmark(
        folder="PACS",
        classes=7,
        variants={
            "published": {"art_painting": 2048, "cartoon": 2344, "photo": 1670, "sketch": 3929}
        },
        sentence="9,991 images of 7 classes in four styles.",
        source="Li et al., 2017; PACS.zip (folder kfold)",
    ),
    "VLCS": Benchmark(
        folder="VLCS",
        classes=5,
        variants={
            "published": {"Caltech101": 1415, "LabelMe": 2656, "SUN09": 3282, "VOC2007": 3376}
        },
        sentence="10,729 photographs of 5 classes from four collections.",
        source="Fang et al., 2013; VLCS.tar.gz as DomainBed arranges it",
    ),
    "OfficeHome": Benchmark(
        folder="office_home",
        classes=65,
        variants={"published": {"Art": 2427, "Clipart": 4365, "Product": 4439, "Real World": 4357}},
        sentence="15,588 images of 65 everyday objects in four styles.",
        source="Venkateswara et al., 2017; OfficeHomeDataset_10072016.zip",
    ),
    "TerraIncognita": Benchmark(
        folder="terra_incognita",
        classes=10,
        variants={
            "the copy with 24,330 images": {
                "location_38": 9736,
                "location_43": 3970,
                "location_46": 5883,
                "location_100": 4741,
            },
            "the older copy with 24,788 images": {
                "location_38": 9767,
                "location_43": 4020,
                "location_46": 6122,
                "location_100": 4879,
            },
        },
        sentence="24,330 photographs of 10 kinds of animals from four camera traps.",
        source="Beery et al., 2018; Caltech Camera Traps (LILA) as DomainBed arranges them",
    ),
    "DomainNet": Benchmark(
        folder="domain_net",
        classes=345,
        variants={
            "published": {
                "clipart": 48129,
                "infograph": 51605,
                "painting": 72266,
                "quickdraw": 172500,
                "real": 172947,
                "sketch": 69128,
            }
        },
        defects={
            "596,006 images: the 9,431 duplicates are still there; remove the files that "
            "domainbed/misc/domain_net_duplicates.txt in github.com/facebookresearch/DomainBed "
            "names (Steppe does not carry that list)": {
                "clipart": 48833,
                "infograph": 53201,
                "painting": 75759,
                "quickdraw": 172500,
                "real": 175327,
                "sketch": 70386,
            }
        },
        sentence="586,575 images of 345 classes in six styles.",
        source="Peng et al., 2019; the six cleaned archives of csr.bu.edu/ftp/visda/2019",
    ),
}
