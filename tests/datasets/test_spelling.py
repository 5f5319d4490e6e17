"""Names from old archives and of all scripts: they work, or are named so that it can be printed."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

import datasets
from datasets.domain_dataset import DatasetError
from datasets.spelling import shown, told_apart, unknown_name
from tests.datasets.photos import jpeg, load, tree

LATIN_1 = "caf\udce9"  # b"caf\xe9", as Python reads it from the disk
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    "name", ["日本", "[x]", "x y", "#1", "a:b", "{c}", "-d", "z\n\x1b[31m", NFD]
)
def test_names_in_utf8_work(tmp_path: Path, name: str) -> None:
    dataset = load(tree(tmp_path, ["day", name], ["cat", name]))
    assert sorted(domain.name for domain in dataset.domains) == sorted(["day", name])
    assert set(dataset.classes) == {"cat", name}


def test_the_longest_names_work(tmp_path: Path) -> None:
    root = tmp_path / ("r" * 255)
    domains = ("d" * 254 + "1", "d" * 254 + "2")
    dataset = load(tree(root, domains, ["c" * 255, "日" * 85]))
    assert tuple(domain.name for domain in dataset.domains) == domains
    assert load(root).fingerprint == dataset.fingerprint


@pytest.mark.parametrize("place", ["domain", "class", "root"])
def test_a_folder_whose_name_is_no_utf8_is_named_so_that_it_can_be_printed(
    tmp_path: Path, place: str
) -> None:
    names = {"domain": "night", "class": "dog", "root": "mine"} | {place: LATIN_1}
    root = tree(tmp_path / names["root"], ["day", names["domain"]], ["cat", names["class"]])
    for refused in (lambda: datasets.describe("ImageFolders", root), lambda: load(root)):
        with pytest.raises((DatasetError, FileNotFoundError)) as error:
            refused()
        assert "not UTF-8" in str(error.value)
        assert r"caf\xe9" in str(error.value).encode().decode()


def test_the_names_of_a_benchmarks_classes_are_looked_at_too(pacs: Path) -> None:
    (pacs / "PACS" / "photo" / "class_000").rename(pacs / "PACS" / "photo" / LATIN_1)
    with pytest.raises(DatasetError, match=r"the class folder 'caf\\xe9' in .* not UTF-8"):
        load(pacs, "counts", name="PACS")


def test_files_whose_names_are_no_utf8_work_and_can_be_printed(mine: Path) -> None:
    (mine / "day" / "cat" / f"{LATIN_1}.jpg").write_bytes(jpeg(90))
    assert len(load(mine).domains[0]) == 5
    (mine / "day" / "cat" / f"{LATIN_1}\n.jpg").write_bytes(jpeg(91)[:100])
    with pytest.raises(DatasetError) as error:
        load(mine)
    assert r"day/cat/caf\xe9\n.jpg" in str(error.value).encode().decode()


@pytest.mark.parametrize(
    ("one", "other", "shown_as"),
    [
        (NFC, NFD, (r"'caf\xe9' (NFC)", r"'cafe\u0301' (NFD)")),
        ("cat", "cat ", ("'cat'", "'cat '")),
        ("cat", "c\u200bat", ("'cat'", r"'c\u200bat'")),
        ("a cat", "a\u00a0cat", ("'a cat'", r"'a\xa0cat'")),
    ],
)
@pytest.mark.parametrize("allow", [(), ("missing_classes",)])
def test_two_folders_of_one_text_are_refused_and_told_apart(
    tmp_path: Path, one: str, other: str, shown_as: tuple[str, str], allow: tuple[str, ...]
) -> None:
    tree(tmp_path, ["day"], ["dog", one])
    tree(tmp_path, ["night"], ["dog", other], width=25)
    with pytest.raises(DatasetError, match="look the same and are not") as error:
        load(tmp_path, *allow)
    for name in shown_as:
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("one", "other", "exact"),
    [
        ("Cat", "cat", "class Cat, but there is cat"),
        ("c\u0430t", "cat", r"class 'c\u0430t', but there is 'cat'"),
        ("ｃａｔ", "cat", r"class '\uff43\uff41\uff54', but there is 'cat'"),
    ],
)
def test_classes_that_a_reader_may_take_for_one_are_told_apart(
    tmp_path: Path, one: str, other: str, exact: str
) -> None:
    tree(tmp_path, ["day"], ["dog", one])
    tree(tmp_path, ["night"], ["dog", other], width=25)
    with pytest.raises(DatasetError, match=r"missing_classes \(2\)") as error:
        load(tmp_path)
    assert exact in str(error.value)


def test_letters_in_both_cases_are_two_classes(tmp_path: Path) -> None:
    assert load(tree(tmp_path, ["pen", "print"], ["a", "A"])).classes == ("A", "a")


def test_a_guess_that_looks_like_the_wrong_word_is_told_apart() -> None:
    assert r"'caf\xe9' (NFC); did you mean 'cafe\u0301' (NFD)?" in str(
        unknown_name("domain", NFC, [NFD, "day"])
    )


def test_names_are_escaped_only_where_they_must_be() -> None:
    assert shown("naïve 日本 [x]") == "naïve 日本 [x]"
    assert shown("a\tb\u200b") == r"a\tb\u200b"
    assert told_apart(["dog", "dog ", "Dog"]) == {"dog": "'dog'", "dog ": "'dog '", "Dog": "Dog"}
