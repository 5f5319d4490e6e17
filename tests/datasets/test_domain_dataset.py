"""A dataset's parts are checked when it is built, and its fingerprint tells datasets apart."""

import hashlib
import re

import numpy as np
import pytest

from datasets.domain_dataset import Domain, DomainDataset, fingerprint


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
    ("images", "sentence"),
    [
        (np.zeros((3, 2, 4, 3), np.float32), "must be uint8 [n, H, W, C], but got float32"),
        (np.zeros((3, 2, 4), np.uint8), "must be uint8 [n, H, W, C], but got uint8 [3, 2, 4]"),
        (np.zeros((3, 4, 3, 2), np.uint8).transpose(0, 1, 3, 2), "must be C-contiguous"),
    ],
)
def test_images_of_the_wrong_kind_are_refused(images: np.ndarray, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Domain("photo", images, np.zeros(3, np.int64))


@pytest.mark.parametrize("labels", [np.zeros(2, np.int64), np.zeros(3, np.int32)])
def test_labels_of_the_wrong_kind_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"labels of domain 'photo' must be int64 \[3\]"):
        Domain("photo", np.zeros((3, 2, 4, 3), np.uint8), labels)


@pytest.mark.parametrize("sizes", [np.zeros((2, 2), np.int64), np.zeros((3, 2), np.int32)])
def test_sizes_of_the_wrong_kind_are_refused(sizes: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"sizes of domain 'photo' must be int64 \[3, 2\]"):
        Domain("photo", np.zeros((3, 2, 4, 3), np.uint8), np.zeros(3, np.int64), sizes)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_class_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1, but they span"):
        dataset(domain(labels=[0, 1, label]))


def test_a_dataset_without_domains_is_refused() -> None:
    with pytest.raises(ValueError, match="'PACS' has no domains"):
        dataset()


def test_two_domains_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'PACS' has 2 domains named 'photo'"):
        dataset(domain("photo"), domain("photo"))


def test_domains_whose_images_differ_in_shape_are_refused() -> None:
    other = Domain("sketch", np.zeros((1, 2, 4, 1), np.uint8), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match=r"mixes image shapes: \[2, 4, 3\] in domain 'photo'"):
        dataset(domain("photo"), other)


def test_the_fingerprint_changes_with_each_thing_it_covers() -> None:
    base = domain()
    pixel = base.images.copy()
    pixel[2, 1, 3, 2] ^= 1
    sizes = np.full((3, 2), 7)
    variants = [
        fingerprint(("cat", "dog"), [base]),
        fingerprint(("cat", "cow"), [base]),
        fingerprint(("cat", "dog"), [domain("sketch")]),
        fingerprint(("cat", "dog"), [domain(labels=[0, 0, 1])]),
        fingerprint(("cat", "dog"), [Domain("photo", pixel, base.labels)]),
        fingerprint(
            ("cat", "dog"), [Domain("photo", base.images.reshape(3, 4, 2, 3), base.labels)]
        ),
        fingerprint(("cat", "dog"), [Domain("photo", base.images, base.labels, sizes)]),
        fingerprint(("cat", "dog"), [Domain("photo", base.images, base.labels, sizes + 1)]),
        fingerprint(("cat", "dog"), [base, domain("sketch")]),
        fingerprint(("cat", "dog"), [domain("sketch"), base]),
    ]
    assert len(set(variants)) == len(variants)


def test_the_fingerprint_of_equal_data_is_equal() -> None:
    assert fingerprint(("cat",), [domain()]) == fingerprint(["cat"], [domain()])


def test_the_fingerprint_from_known_digests_is_that_from_the_pixels() -> None:
    photo = domain()
    digests = [hashlib.sha256(image).digest() for image in photo.images]
    assert fingerprint(("cat",), [photo], [digests]) == fingerprint(("cat",), [photo])
