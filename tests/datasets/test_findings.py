"""What is wrong with a dataset's files is told by file and count, and accepted only if asked to."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFile as PillowFile

import datasets
from datasets import findings
from datasets.benchmarks import BENCHMARKS
from datasets.domain_dataset import DatasetError
from datasets.image_tree import DomainTree, ImageFile, ImageTree
from tests.datasets.photos import as_the_field_loads, jpeg, load, numbered, tree

load_pacs = partial(load, name="PACS")


def test_a_count_that_is_not_the_published_one_is_refused_and_noted_if_allowed(pacs: Path) -> None:
    with pytest.raises(DatasetError) as error:
        load_pacs(pacs)
    found = "counts (4): art_painting has 7 images, 2,048 are published"
    for part in (found, "sketch has 7 images, 3,929 are published", "allow: [counts]"):
        assert part in str(error.value)
    (note,) = load_pacs(pacs, "counts").notes
    assert note.startswith(f"allowed {found}")


def test_a_class_missing_in_a_domain_or_without_images_is_refused(pacs: Path) -> None:
    shutil.rmtree(pacs / "PACS" / "photo" / "class_003")
    (pacs / "PACS" / "sketch" / "class_001" / "pic_000.jpg").unlink()
    with pytest.raises(DatasetError, match=r"missing_classes \(2\)") as error:
        load_pacs(pacs, "counts")
    for domain, label in (("photo", "class_003"), ("sketch", "class_001")):
        assert f"{domain} has no images of class {label}" in str(error.value)
    domains = load_pacs(pacs, "counts", "missing_classes").domains
    assert [len(domain) for domain in domains] == [7, 7, 6, 6]


def test_a_class_too_many_is_refused_whatever_is_allowed(pacs: Path) -> None:
    (pacs / "PACS" / "photo" / "extra").mkdir()
    (pacs / "PACS" / "photo" / "extra" / "x.jpg").write_bytes(jpeg(0))
    with pytest.raises(DatasetError, match=r"8 class folders, but 7 .* extra is only in photo"):
        load_pacs(pacs, *datasets.KINDS)


def test_a_folder_beside_the_domains_is_refused_or_left_out(pacs: Path) -> None:
    tree(pacs / "PACS", ["kfold_backup"], ["dog"])
    with pytest.raises(DatasetError, match=r"stray_folders \(1\): kfold_backup is no domain"):
        load_pacs(pacs, "counts")
    assert len(load_pacs(pacs, "counts", "stray_folders").domains) == 4


def test_a_missing_domain_is_named(pacs: Path) -> None:
    (pacs / "PACS" / "cartoon").rename(pacs / "PACS" / "cartoons")
    with pytest.raises(FileNotFoundError, match=r"lacks cartoon; it has art_painting, cartoons"):
        load_pacs(pacs)


def test_a_truncated_image_is_refused_or_decoded_as_far_as_it_goes(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = mine / "day" / "dog" / "pic_001.jpg"
    data = jpeg(3, 64, 64)
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match=r"truncated \(1\): day/dog/pic_001.jpg: .*truncated"):
        load(mine)
    domain = load(mine, "truncated").domains[0]
    assert len(domain) == 4
    assert domain.sizes is not None
    assert domain.sizes[3].tolist() == [64, 64]
    monkeypatch.setattr(PillowFile, "LOAD_TRUNCATED_IMAGES", True)  # as DomainBed sets it
    np.testing.assert_array_equal(domain.images[3], np.asarray(as_the_field_loads(file)))


def test_what_is_no_image_is_refused_or_left_out(mine: Path) -> None:
    (mine / "day" / "cat" / "pic_000.jpg").write_text("<html>404</html>")
    (mine / "day" / "cat" / "pic_002.jpg").write_bytes(b"")
    (mine / "day" / "cat" / "notes.txt").write_text("three of them")
    (mine / "day" / "cat" / "pic_003.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\n"
    )
    (mine / "day" / "dog" / "gone.jpg").symlink_to(mine / "nowhere.jpg")
    with pytest.raises(DatasetError, match=r"unreadable \(1\): day/cat/notes.txt is no image"):
        load(mine)
    (mine / "day" / "cat" / "notes.txt").unlink()
    with pytest.raises(DatasetError, match=r"unreadable \(4\)") as error:
        load(mine)
    for part in (
        "day/cat/pic_000.jpg: no image format known to Pillow; begins with '<html>404</h'",
        "day/cat/pic_002.jpg: empty",
        "day/cat/pic_003.jpg: an EPS file, for which Pillow starts another program",
        "day/dog/gone.jpg: No such file",
    ):
        assert part in str(error.value)
    domain = load(mine, "unreadable").domains[0]
    assert domain.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(
        domain.images[0], np.asarray(as_the_field_loads(mine / "day" / "cat" / "pic_001.jpg"))
    )


def test_a_domain_without_images_is_refused(mine: Path) -> None:
    (mine / "docs" / "drafts").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"docs should be a domain, but .* rename .* \.docs"):
        load(mine, *datasets.KINDS)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: None, "is no folder"),
        (lambda root: root.mkdir(), "no PACS in"),
        (lambda root: (root / "pacs_v2" / "photo").mkdir(parents=True), "there is pacs_v2"),
    ],
)
def test_a_root_without_the_dataset_is_refused(tmp_path: Path, make, sentence: str) -> None:
    make(tmp_path / "data")
    with pytest.raises(FileNotFoundError, match=sentence):
        load_pacs(tmp_path / "data")


def test_a_kind_of_finding_that_does_not_exist_is_refused(pacs: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown kind .*'count'; did you mean 'counts'"):
        load_pacs(pacs, "count")


def test_a_size_below_one_is_refused(pacs: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset.size must be at least 1, but got 0"):
        load_pacs(pacs, "counts", size=0)


def published(name: str, counts: Mapping[str, int]) -> ImageTree:
    """What would be listed in a benchmark's folder with so many images."""
    classes = tuple(numbered(BENCHMARKS[name].classes))
    files = tuple(ImageFile(f"{label}/x.jpg", 1, 1) for label in classes)
    domains = tuple(
        DomainTree(domain, classes, (files * (count // len(files) + 1))[:count], ())
        for domain, count in sorted(counts.items())
    )
    return ImageTree(Path("data"), domains, classes, (), (), {})


@pytest.mark.parametrize("name", ["PACS", "VLCS", "OfficeHome", "TerraIncognita"])
def test_published_counts_are_no_finding_and_copies_are_known_by_name(name: str) -> None:
    benchmark = BENCHMARKS[name]
    for variant, counts in benchmark.variants.items():
        found = published(name, counts)
        assert findings.of_tree(found, benchmark) == []
        if len(benchmark.variants) > 1:
            assert findings.variant(found, benchmark) == variant
            assert f"{found.count:,} images" in variant


def test_a_wrong_count_is_compared_with_the_nearest_copy() -> None:
    terra = BENCHMARKS["TerraIncognita"]
    counts = dict(terra.variants["the older copy with 24,788 images"]) | {"location_43": 4000}
    (finding,) = findings.of_tree(published("TerraIncognita", counts), terra)
    assert finding.what == "location_43 has 4,000 images, 4,020 are published"


def test_domain_nets_duplicates_are_known_by_their_count() -> None:
    net = BENCHMARKS["DomainNet"]
    (sentence, counts), *_ = net.defects.items()
    difference = sum(counts.values()) - sum(net.variants["published"].values())
    assert (sum(counts.values()), difference) == (596006, 9431)
    (finding,) = findings.of_tree(published("DomainNet", counts), net)
    assert finding == ("counts", sentence)
    assert "domain_net_duplicates.txt" in sentence
