"""What is wrong with a dataset's files is told by file and count, and accepted only if asked to."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFile as PillowFile

import datasets
from datasets import findings
from datasets.benchmarks import BENCHMARKS
from datasets.domain_dataset import DatasetError
from datasets.image_tree import DomainTree, ImageFile, ImageTree
from tests.datasets.photos import as_the_field_loads, jpeg, numbered, tree


def load(root: Path, *allow: str, name: str = "PACS", size: int = 8) -> datasets.DomainDataset:
    return datasets.load(name, root, size=size, allow=allow)


def load_mine(root: Path, *allow: str, **options: object) -> datasets.DomainDataset:
    return datasets.load("ImageFolders", root, size=8, allow=allow, **options)  # type: ignore[arg-type]


def test_a_count_that_is_not_the_published_one_is_refused(pacs: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"(?s)counts \(4\): art_painting has 7 images, 2,048 "
    ) as e:
        load(pacs)
    assert "sketch has 7 images, 3,929 are published" in str(e.value)
    assert "allow: [counts]" in str(e.value)


def test_what_is_allowed_is_noted(pacs: Path) -> None:
    (note,) = load(pacs, "counts").notes
    assert note.startswith("allowed counts (4): art_painting has 7 images, 2,048 are published")


def test_a_class_missing_in_a_domain_is_refused(pacs: Path) -> None:
    shutil.rmtree(pacs / "PACS" / "photo" / "class_003")
    with pytest.raises(DatasetError, match=re.escape("photo has no images of class class_003")):
        load(pacs, "counts")


def test_an_empty_class_folder_is_a_missing_class(pacs: Path) -> None:
    (pacs / "PACS" / "sketch" / "class_001" / "pic_000.jpg").unlink()
    with pytest.raises(DatasetError, match=r"missing_classes \(1\): sketch has no .* class_001"):
        load(pacs, "counts")
    assert len(load(pacs, "counts", "missing_classes").domains[3]) == 6


def test_a_class_too_many_is_refused_whatever_is_allowed(pacs: Path) -> None:
    (pacs / "PACS" / "photo" / "extra").mkdir()
    (pacs / "PACS" / "photo" / "extra" / "x.jpg").write_bytes(jpeg(0))
    with pytest.raises(DatasetError, match=r"8 class folders, but 7 .* extra is only in photo"):
        load(pacs, *datasets.KINDS)


def test_a_folder_beside_the_domains_is_refused_or_left_out(pacs: Path) -> None:
    tree(pacs / "PACS", ["kfold_backup"], ["dog"])
    with pytest.raises(DatasetError, match=r"stray_folders \(1\): kfold_backup is no domain"):
        load(pacs, "counts")
    assert len(load(pacs, "counts", "stray_folders").domains) == 4


def test_a_missing_domain_is_named(pacs: Path) -> None:
    (pacs / "PACS" / "cartoon").rename(pacs / "PACS" / "cartoons")
    with pytest.raises(FileNotFoundError, match=r"lacks cartoon; it has art_painting, cartoons"):
        load(pacs)


def test_a_truncated_image_is_refused_or_decoded_as_far_as_it_goes(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = mine / "day" / "dog" / "pic_001.jpg"
    data = jpeg(3, 64, 64)
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match=r"truncated \(1\): day/dog/pic_001.jpg: .*truncated"):
        load_mine(mine)
    domain = load_mine(mine, "truncated").domains[0]
    assert len(domain) == 4
    assert domain.sizes is not None
    assert domain.sizes[3].tolist() == [64, 64]
    monkeypatch.setattr(PillowFile, "LOAD_TRUNCATED_IMAGES", True)  # as DomainBed sets it
    np.testing.assert_array_equal(domain.images[3], np.asarray(as_the_field_loads(file)))


def test_what_is_no_image_is_refused_or_left_out(mine: Path) -> None:
    (mine / "day" / "cat" / "pic_000.jpg").write_text("<html>404</html>")
    (mine / "day" / "cat" / "pic_002.jpg").write_bytes(b"")
    (mine / "day" / "cat" / "notes.txt").write_text("three of them")
    (mine / "day" / "dog" / "gone.jpg").symlink_to(mine / "nowhere.jpg")
    with pytest.raises(DatasetError, match=r"unreadable \(1\): day/cat/notes.txt is no image"):
        load_mine(mine)
    (mine / "day" / "cat" / "notes.txt").unlink()
    with pytest.raises(DatasetError, match=r"unreadable \(3\)") as error:
        load_mine(mine)
    for part in (
        "day/cat/pic_000.jpg: no image format known to Pillow; begins with '<html>404</h'",
        "day/cat/pic_002.jpg: empty",
        "day/dog/gone.jpg: No such file",
    ):
        assert part in str(error.value)
    domain = load_mine(mine, "unreadable").domains[0]
    assert domain.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(
        domain.images[0], np.asarray(as_the_field_loads(mine / "day" / "cat" / "pic_001.jpg"))
    )


def test_a_domain_without_images_is_refused(mine: Path) -> None:
    (mine / "docs" / "drafts").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"docs should be a domain, but .* rename .* \.docs"):
        load_mine(mine, *datasets.KINDS)


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
        load(tmp_path / "data")


def test_a_benchmark_without_a_root_asks_for_one() -> None:
    with pytest.raises(FileNotFoundError, match=r"PACS needs the folder .* `dataset.root`"):
        datasets.load("PACS")


def test_a_kind_of_finding_that_does_not_exist_is_refused(pacs: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown kind .*'count'; did you mean 'counts'"):
        load(pacs, "count")


def test_a_size_below_one_is_refused(pacs: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset.size must be at least 1, but got 0"):
        load(pacs, "counts", size=0)


def published(name: str, counts: Mapping[str, int]) -> ImageTree:
    """What would be listed in a benchmark's folder with so many images."""
    classes = tuple(numbered(BENCHMARKS[name].classes))
    domains = tuple(
        DomainTree(
            domain,
            classes,
            tuple(ImageFile(f"{classes[i % len(classes)]}/{i}.jpg", 1, 1) for i in range(count)),
            (),
        )
        for domain, count in sorted(counts.items())
    )
    return ImageTree(Path("data"), domains, classes, (), (), {})


@pytest.mark.parametrize("name", ["PACS", "VLCS", "OfficeHome"])
def test_published_counts_are_no_finding(name: str) -> None:
    benchmark = BENCHMARKS[name]
    assert findings.of_tree(published(name, benchmark.variants["published"]), benchmark) == []


def test_both_copies_of_terra_incognita_are_known_by_name() -> None:
    terra = BENCHMARKS["TerraIncognita"]
    for name, counts in terra.variants.items():
        found = published("TerraIncognita", counts)
        assert findings.of_tree(found, terra) == []
        assert findings.variant(found, terra) == name
        assert f"{found.count:,} images" in name


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
