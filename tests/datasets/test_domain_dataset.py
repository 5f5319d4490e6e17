"""A dataset's parts are checked when it is built, and its fingerprint tells datasets apart."""

import hashlib
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from datasets.domain_dataset import Domain, DomainDataset, Originals, fingerprint


def domain(name: str = "photo", n: int = 3, labels: list[int] | None = None) -> Domain:
    images = np.arange(n * 2 * 4 * 3, dtype=np.uint8).reshape(n, 2, 4, 3)
    return Domain(name, images, np.array(labels if labels is not None else [0] * n))


def dataset(*domains: Domain) -> DomainDataset:
    return DomainDataset("PACS", domains, ("cat", "dog"), "unused")


def test_image_shape_is_channels_height_width() -> None:
    assert dataset(domain()).image_shape == (3, 2, 4)


def test_index_counts_the_domains_in_order() -> None:
    pacs = dataset(domain("photo"), domain("sketch"))
    assert [pacs.index("photo"), pacs.index("sketch")] == [0, 1]


def test_index_of_an_unknown_domain_names_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"unknown domain of PACS: 'sketches'; did you mean 'sketch'\?"
    ):
        dataset(domain("photo"), domain("sketch")).index("sketches")


@pytest.mark.parametrize(
    ("part", "value", "sentence"),
    [
        ("images", np.zeros((3, 2, 4, 3), np.float32), "uint8 [n, H, W, C], but got float32"),
        ("images", np.zeros((3, 2, 4), np.uint8), "uint8 [n, H, W, C], but got uint8 [3, 2, 4]"),
        ("images", np.zeros((3, 4, 3, 2), np.uint8).transpose(0, 1, 3, 2), "C-contiguous"),
        ("labels", np.zeros(2, np.int64), "int64 [3]"),
        ("labels", np.zeros(3, np.int32), "int64 [3]"),
        ("sizes", np.zeros((2, 2), np.int64), "int64 [3, 2]"),
        ("sizes", np.zeros((3, 2), np.int32), "int64 [3, 2]"),
        ("originals", Originals(np.zeros(6, np.uint8), np.ones((2, 2), np.int64)), "3 images"),
        ("originals", Originals(np.zeros(8, np.uint8), np.ones((3, 2), np.int64)), "3 images"),
    ],
)
def test_a_part_of_the_wrong_kind_is_refused(part: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{part} of domain 'photo' must be {sentence}")):
        replace(domain(), **{part: value})


@pytest.mark.parametrize(
    ("domains", "sentence"),
    [
        ([], "'PACS' has no domains"),
        ([domain("photo"), domain("photo")], "'PACS' has 2 domains named 'photo'"),
        ([domain("a/b")], "domain 'a/b' of 'PACS' must have no /"),
        ([domain(labels=[0, 1, -1])], r"must lie in 0\.\.1, but they span"),
        ([domain(labels=[0, 1, 2])], r"must lie in 0\.\.1, but they span"),
        (
            [domain(), Domain("sketch", np.zeros((1, 2, 4, 1), np.uint8), np.zeros(1, np.int64))],
            r"mixes image shapes: \[2, 4, 3\] in domain 'photo'",
        ),
    ],
)
def test_domains_that_are_no_dataset_are_refused(domains: list[Domain], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        dataset(*domains)


def test_the_fingerprint_changes_with_each_thing_it_covers() -> None:
    base = domain()
    pixel = base.images.copy()
    pixel[2, 1, 3, 2] ^= 1
    sizes = np.full((3, 2), 7)
    others = [
        [base],
        [domain("sketch")],
        [domain(labels=[0, 0, 1])],
        [replace(base, images=pixel)],
        [replace(base, images=base.images.reshape(3, 4, 2, 3))],
        [replace(base, sizes=sizes)],
        [replace(base, sizes=sizes + 1)],
        [base, domain("sketch")],
        [domain("sketch"), base],
    ]
    found = {fingerprint(("cat", "dog"), domains) for domains in others}
    assert len({*found, fingerprint(("cat", "cow"), [base])}) == len(others) + 1


def test_the_fingerprint_of_equal_data_is_equal() -> None:
    assert fingerprint(("cat",), [domain()]) == fingerprint(["cat"], [domain()])


def test_the_fingerprint_from_known_digests_is_that_from_the_pixels() -> None:
    photo = domain()
    digests = [hashlib.sha256(image).digest() for image in photo.images]
    assert fingerprint(("cat",), [photo], [digests]) == fingerprint(("cat",), [photo])
