"""RotatedDigits: scikit-learn's digits, each in one domain, rotated by that domain's angle."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from datasets import rotated_digits


def test_the_data_are_the_recorded_ones() -> None:
    # A change here changes every number ever published on this dataset.
    assert rotated_digits.load().fingerprint == (
        "c4958d77441c0fad17fe65c5c387643015a9afcab327be984637d3bb9f3c99be"
    )


def test_each_digit_is_in_one_domain_turned_counter_clockwise_by_its_name() -> None:
    digits = load_digits()
    upright = np.rint(digits.images * 255 / 16).astype(np.uint8)
    order = np.random.RandomState(0).permutation(1797)
    domains = rotated_digits.load().domains
    assert [domain.name for domain in domains] == ["0", "15", "30", "45", "60", "75"]
    for i, domain in enumerate(domains):
        own = order[i::6]
        np.testing.assert_array_equal(domain.labels, digits.target[own])
        turned = Image.fromarray(upright[own[0]]).rotate(
            int(domain.name), Image.Resampling.BILINEAR
        )
        np.testing.assert_array_equal(domain.images[0, ..., 0], np.asarray(turned))


def test_the_shared_arrays_cannot_be_written_to() -> None:
    domain = rotated_digits.load().domains[0]
    for array in (domain.images, domain.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_without_scikit_learn_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install scikit-learn"):
        rotated_digits.load.__wrapped__()
