"""Folders that are not domain/class/image: never a result, or taken so only if asked to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import datasets
from datasets.benchmarks import BENCHMARKS
from datasets.domain_dataset import DatasetError
from tests.datasets.photos import jpeg, load, picture, tree


def office(root: Path, *between: str) -> Path:
    """domain/BETWEEN/class/image: no two images alike."""
    for i, domain in enumerate(("amazon", "dslr", "webcam")):
        for j, part in enumerate(between or ("",)):
            tree(root / domain, [part], ["bike", "mug"], width=20 + 4 * i + j)
    return root


def two(root: Path) -> None:
    tree(root, ["day", "night"], ["cat", "dog"])


# What no result can come of, whatever is allowed: where it lies, and what the message says.
NEVER: dict[str, tuple[Callable[[Path], object], str, tuple[str, ...]]] = {
    "Office-31": (
        lambda root: office(root, "images"),
        ".",
        ("only one class, images, in the domains amazon, dslr, webcam", "the folders bike, mug"),
    ),
    "a folder too many, with two names": (
        lambda root: (office(root, "images"), (root / "dslr/images").rename(root / "dslr/imgs")),
        ".",
        ("only one class each (amazon: images; dslr: imgs", "move them up into amazon"),
    ),
    "one class": (
        lambda root: tree(root, ["day", "night"], ["cat"]),
        ".",
        ("only one class, cat",),
    ),
    "one domain": (lambda root: tree(root, ["day"], ["cat", "dog"]), ".", ("one domain, day",)),
    "a level too high": (
        lambda root: two(root / "mine"),
        ".",
        ("only one domain, mine", "dataset.root seems to be {root}/mine"),
    ),
    "two levels too high": (
        lambda root: two(root / "mine" / "v1"),
        ".",
        ("dataset.root seems to be {root}/mine/v1",),
    ),
    "above two datasets": (
        lambda root: (two(root / "mine"), tree(root / "yours", ["sea", "land"], ["cat", "dog"])),
        ".",
        ("share no class (mine: day, night; yours: land, sea)", "seems to be {root}/mine"),
    ),
    "a level too low": (two, "day", ("folders cat, dog hold images", "to be {root}")),
    "two levels too low": (two, "day/cat", ("it holds images (2)", "to be {root}")),
    "domains without classes": (
        lambda root: [tree(root, [name], [""]) for name in ("day", "night")],
        ".",
        ("folders day, night hold images and no folders",),
    ),
    "nothing": (lambda root: None, ".", ("it is empty", "domain/class/image")),
}


@pytest.mark.parametrize("case", NEVER)
def test_what_no_result_can_come_of_is_refused_and_the_right_level_named(
    tmp_path: Path, case: str
) -> None:
    make, below, sentences = NEVER[case]
    root = tmp_path / "root"
    root.mkdir()
    make(root)
    for refused in (
        lambda: datasets.describe("ImageFolders", root / below),  # before a launch reads pixels
        lambda: load(root / below, *datasets.KINDS),
    ):
        with pytest.raises((DatasetError, FileNotFoundError)) as error:
            refused()
        for sentence in sentences:
            assert sentence.format(root=root) in str(error.value)
    assert not list(tmp_path.rglob(".steppe-cache"))


DOUBTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "parts of each domain": (
        lambda root: office(root, "train", "test"),
        ".",
        "amazon/test holds no images itself, but the folders bike, mug (and so on in 2",
    ),
    "parts of one domain": (lambda root: office(root, "train", "test"), "dslr", "test, train are"),
    "an ordinary dataset": (lambda root: tree(root, ["train", "val"], ["a", "b"]), ".", "parts of"),
    "classes in groups": (
        lambda root: [tree(root / d, ["pets", "farm"], [d + "1"]) for d in ("day", "night")],
        ".",
        "day/farm holds no images itself",
    ),
    "images of no class": (
        lambda root: (two(root), (root / "day" / "x.jpg").write_bytes(jpeg(99))),
        ".",
        "day holds images beside its class folders, which are of no class: x.jpg",
    ),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_what_may_be_laid_out_otherwise_is_a_finding(tmp_path: Path, case: str) -> None:
    make, below, sentence = DOUBTS[case]
    make(tmp_path)
    with pytest.raises(DatasetError, match=r"layout \(\d\)") as error:
        load(tmp_path / below)
    assert sentence in str(error.value)


def test_class_folders_of_folders_are_taken_if_allowed(tmp_path: Path) -> None:
    dataset = load(office(tmp_path, "train", "test"), "layout", "duplicates")
    assert dataset.classes == ("test", "train")
    assert [len(domain) for domain in dataset.domains] == [8, 8, 8]


def test_folders_beside_the_images_of_a_class_are_taken_and_told(mine: Path) -> None:
    (mine / "day" / "cat" / "more").mkdir()
    (mine / "day" / "cat" / "more" / "x.jpg").write_bytes(jpeg(99))
    dataset = load(mine)
    assert dataset.domains[0].labels.tolist() == [0, 0, 0, 1, 1]
    assert "day/cat/more" in dataset.notes[0]


def test_images_of_a_domain_without_class_folders_are_told(mine: Path) -> None:
    (mine / "dusk").mkdir()
    (mine / "dusk" / "x.jpg").write_bytes(jpeg(99))
    with pytest.raises(
        DatasetError, match=r"dusk is no domain: images in it .* no class folder: 1"
    ):
        load(mine)


def test_a_benchmark_elsewhere_and_one_a_level_too_deep_are_told(tmp_path: Path) -> None:
    domains = BENCHMARKS["VLCS"].domains
    for i, domain in enumerate(domains):
        tree(tmp_path / "a" / "b" / domain, ["full", "test"], ["0", "1"], 1, width=20 + i)
    with pytest.raises(FileNotFoundError, match=r"seems to be .*/a/b$"):
        load(tmp_path, name="VLCS")
    with pytest.raises(DatasetError, match=r"2 class folders, but 5 .*full holds .* folders 0, 1"):
        load(tmp_path / "a" / "b", name="VLCS")


# Links


def test_a_link_to_a_folder_above_is_not_followed(mine: Path) -> None:
    before = load(mine)
    (mine / "day" / "cat" / "loop").symlink_to(mine / "day")
    (mine / "day" / "up").symlink_to(mine / "day")
    (mine / "night" / "dog" / "loop").symlink_to("../../..")
    (mine / "again").symlink_to(".")
    with pytest.raises(DatasetError, match=r"layout \(4\)") as error:
        load(mine, "unreadable")
    for link in ("again", "day/up", "day/cat/loop", "night/dog/loop"):
        assert f"{link} is a link to a folder" in str(error.value)
    assert load(mine, "layout").fingerprint == before.fingerprint


def test_a_folder_is_looked_into_once_however_many_links_lead_there(mine: Path) -> None:
    outside = tree(mine.parent / "outside", ["x"], ["more"], width=30) / "x" / "more"
    for folder in ("cat", "dog"):
        for name in ("one", "two"):
            (mine / "day" / folder / name).symlink_to(outside)
    (mine / "day" / "dog" / "three").symlink_to(mine / "day" / "cat")
    with pytest.raises(DatasetError, match=r"layout \(4\)") as error:
        load(mine)
    assert "day/dog/three is a link to day/cat" in str(error.value)
    assert [len(domain) for domain in load(mine, "layout").domains] == [6, 4]


def test_links_to_folders_elsewhere_are_folders(mine: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(mine, tmp_path / "copy"))
    shutil.rmtree(copy / "night")
    shutil.rmtree(copy / "day" / "cat")
    (copy / "night").symlink_to(mine / "night")
    (copy / "day" / "cat").symlink_to(mine / "day" / "cat")
    assert load(copy).fingerprint == load(mine).fingerprint


def test_links_to_nothing_are_told_wherever_they_are(mine: Path) -> None:
    (mine / "dusk").symlink_to("nowhere")
    (mine / "day" / "cow").symlink_to("nowhere")
    (mine / "day" / "self").symlink_to("self")
    with pytest.raises(DatasetError, match=r"unreadable \(3\): dusk is a link to nothing; day/cow"):
        load(mine)


# The same image twice


@pytest.mark.parametrize("how", ["copy", "link", "hard link", "link to the domain"])
def test_the_same_file_in_two_domains_is_a_finding(mine: Path, how: str) -> None:
    file, other = mine / "day" / "cat" / "pic_001.jpg", mine / "night" / "cat" / "x.jpg"
    count = 1
    if how == "copy":
        shutil.copy(file, other)
    elif how == "link":
        other.symlink_to(file)
    elif how == "hard link":
        other.hardlink_to(file)
    else:
        shutil.rmtree(mine / "night")
        (mine / "night").symlink_to("day")
        count = 4
    with pytest.raises(DatasetError, match=r"duplicates \(1\)") as error:
        load(mine)
    verb = "images are" if count > 1 else "image is"
    assert f"{count} {verb} in two domains, day and night: day/cat/pic_" in str(error.value)
    (note,) = load(mine, "duplicates").notes
    assert note.startswith(f"allowed duplicates (1): {count} {verb} in two domains")
    with pytest.raises(DatasetError, match="duplicates"):  # also from the cache, as a worker does
        load(mine, recheck=False)


def test_the_same_file_in_two_classes_is_a_finding_and_in_one_a_note(mine: Path) -> None:
    shutil.copy(mine / "day" / "cat" / "pic_000.jpg", mine / "day" / "cat" / "x.jpg")
    assert load(mine).notes == ("day: images that are once more in their class: 1",)
    shutil.copy(mine / "night" / "cat" / "pic_000.jpg", mine / "night" / "dog" / "x.jpg")
    with pytest.raises(DatasetError, match=r"1 image is in two classes of night, cat and dog: "):
        load(mine)


def test_an_image_saved_anew_in_another_domain_is_told(mine: Path) -> None:
    picture(50).save(mine / "day" / "cat" / "a.png")
    picture(50).save(mine / "night" / "cat" / "b.bmp")
    (note,) = load(mine).notes
    assert "same pixels: 1 image is in two domains, day and night: day/cat/a.png is n" in note


def test_duplicates_of_a_benchmark_as_published_are_a_note(
    pacs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pacs / "PACS"
    shutil.copy(folder / "photo/class_000/pic_000.jpg", folder / "sketch/class_000/pic_000.jpg")
    with pytest.raises(DatasetError, match="duplicates"):
        load(pacs, "counts", name="PACS")
    published = dict.fromkeys(BENCHMARKS["PACS"].domains, 7)
    monkeypatch.setitem(BENCHMARKS["PACS"].variants, "published", published)  # type: ignore[index]
    (pacs / ".steppe-cache").rename(pacs / "old")
    (note,) = load(pacs, name="PACS").notes
    assert note.startswith("1 image is in two domains, photo and sketch")
