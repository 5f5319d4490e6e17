"""RotatedDigits: scikit-learn's digits, each in one domain, rotated by that domain's angle."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from datasets import rotated_digits


@pytest.fixture(scope="module")
def originals() -> np.ndarray:
    images: np.ndarray = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    return images


def order() -> np.ndarray:
    return np.random.RandomState(0).permutation(1797)


def test_the_data_are_the_recorded_ones() -> None:
    # A change here changes every number ever published on this dataset.
    assert rotated_digits.load().fingerprint == (
        "c4958d77441c0fad17fe65c5c387643015a9afcab327be984637d3bb9f3c99be"
    )


def test_the_domains_are_six_angles_of_about_300_digits() -> None:
    domains = rotated_digits.load().domains
    assert [domain.name for domain in domains] == ["0", "15", "30", "45", "60", "75"]
    assert [domain.images.shape for domain in domains] == [(300, 8, 8, 1)] * 3 + [
        (299, 8, 8, 1)
    ] * 3


def test_no_digit_is_in_two_domains_and_none_is_lost() -> None:
    parts = [order()[i::6] for i in range(6)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(1797))
    targets = load_digits().target
    for part, domain in zip(parts, rotated_digits.load().domains, strict=True):
        np.testing.assert_array_equal(domain.labels, targets[part])


def test_the_first_domain_holds_scikit_learns_digits_unrotated(originals: np.ndarray) -> None:
    upright = rotated_digits.load().domains[0]
    np.testing.assert_array_equal(upright.images[..., 0], originals[order()[0::6]])


@pytest.mark.parametrize("i", range(6))
def test_each_domain_is_turned_counter_clockwise_by_its_name(i: int, originals: np.ndarray) -> None:
    domain = rotated_digits.load().domains[i]
    expected = Image.fromarray(originals[order()[i]]).rotate(
        int(domain.name), Image.Resampling.BILINEAR
    )
    np.testing.assert_array_equal(domain.images[0, ..., 0], np.asarray(expected))


def test_every_class_is_in_every_domain() -> None:
    for domain in rotated_digits.load().domains:
        assert np.bincount(domain.labels, minlength=10).min() >= 15


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
