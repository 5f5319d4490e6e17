"""Folders of domain/class/image: found, checked, numbered and loaded as the field does it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

import datasets
from datasets.benchmarks import BENCHMARKS
from datasets.domain_dataset import fingerprint
from tests.datasets.photos import as_the_field_loads, jpeg, load, numbered, picture, tree


@pytest.mark.parametrize(
    ("name", "within"), [*((name, True) for name in BENCHMARKS), ("PACS", False)]
)
def test_each_benchmark_loads_from_its_folder_or_the_one_above(
    tmp_path: Path, name: str, within: bool
) -> None:
    benchmark = BENCHMARKS[name]
    folder = tmp_path / benchmark.folder
    tree(folder, benchmark.domains, numbered(benchmark.classes), count=1, width=8)
    dataset = load(folder if within else tmp_path, "counts", name=name)
    assert tuple(domain.name for domain in dataset.domains) == datasets.describe(name).domains
    assert len(dataset.classes) == datasets.describe(name).classes
    for domain in dataset.domains:
        assert domain.images.shape == (benchmark.classes, 8, 8, 3)
        np.testing.assert_array_equal(domain.labels, np.arange(benchmark.classes))


def test_samples_come_in_the_order_of_torchvisions_image_folder(mine: Path) -> None:
    # Nested folders, capitals and a space, which sort otherwise as paths than as strings.
    for i, name in enumerate(["b/x.jpg", "b c/x.jpg", "a.JPG", "Z.jpeg", "10.png", "9.png"]):
        file = mine / "day" / "cat" / name
        file.parent.mkdir(exist_ok=True)
        picture(100 + i).save(file, "PNG" if name.endswith("png") else "JPEG")
    theirs = ImageFolder(str(mine / "day"))
    ours = load(mine).domains[0]
    assert ours.labels.tolist() == theirs.targets
    for image, (path, _) in zip(ours.images, theirs.samples, strict=True):
        np.testing.assert_array_equal(image, np.asarray(as_the_field_loads(path)))


def test_an_image_of_the_right_size_is_kept_pixel_for_pixel(mine: Path) -> None:
    picture(5, 8, 8).save(mine / "day" / "cat" / "pic_000.png")
    domain = load(mine).domains[0]
    np.testing.assert_array_equal(domain.images[1], np.asarray(picture(5, 8, 8)))


def test_the_original_width_and_height_are_kept(mine: Path) -> None:
    (mine / "night" / "dog" / "pic_000.jpg").write_bytes(jpeg(0, 50, 30))
    sizes = load(mine).domains[1].sizes
    assert sizes is not None
    assert sizes.tolist() == [[24, 16], [24, 16], [50, 30], [24, 16]]


def test_images_have_224_pixels_unless_another_size_is_asked_for(mine: Path) -> None:
    assert datasets.load("ImageFolders", mine).image_shape == (3, 224, 224)


def test_images_are_converted_before_they_are_resized_and_not_turned_as_exif_asks(
    mine: Path,
) -> None:
    folder = mine / "day" / "cat"
    for file in folder.iterdir():
        file.unlink()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture(0).save(folder / "a.jpg", exif=exif)
    picture(2).convert("L").save(folder / "c.jpg")
    picture(5).convert("P").save(folder / "e.png", transparency=0)
    picture(6).convert("1").save(folder / "f.bmp")
    domain = load(mine).domains[0]
    for image, file in zip(domain.images, sorted(folder.iterdir()), strict=False):
        np.testing.assert_array_equal(image, np.asarray(as_the_field_loads(file)), file.name)
    assert domain.sizes is not None
    assert domain.sizes[0].tolist() == [24, 16]


def test_classes_have_one_number_in_all_domains_also_where_one_is_missing(mine: Path) -> None:
    shutil.rmtree(mine / "night" / "cat")
    dataset = load(mine, "missing_classes")
    assert dataset.classes == ("cat", "dog")
    assert dataset.domains[1].labels.tolist() == [1, 1]
    assert any("night has no images of class cat" in note for note in dataset.notes)


def test_hidden_files_are_skipped_and_told(mine: Path) -> None:
    before = load(mine)
    (mine / "day" / ".old").mkdir()
    (mine / "day" / "cat" / ".ipynb_checkpoints").mkdir()
    (mine / "day" / "cat" / ".ipynb_checkpoints" / "pic.jpg").write_bytes(jpeg(1))
    (mine / "day" / "cat" / ".pic_009.jpg").write_bytes(jpeg(2))
    after = load(mine)
    assert after.fingerprint == before.fingerprint
    assert before.notes == ()
    (note,) = after.notes
    assert "skipped 3 hidden files and folders" in note
    assert "day/cat/.pic_009.jpg" in note


def test_files_of_systems_and_archive_tools_are_no_images_and_no_news(mine: Path) -> None:
    before = load(mine)
    for name in ("__MACOSX", ".git", "$RECYCLE.BIN", "System Volume Information", "lost+found"):
        (mine / name / "day").mkdir(parents=True)
        (mine / "day" / name / "cat").mkdir(parents=True)
        (mine / "day" / name / "cat" / "x.jpg").write_bytes(jpeg(1))
    for name in (
        "ehthumbs.db",
        "Thumbs.db",
        "THUMBS.DB",
        "Desktop.ini",
        ".DS_Store",
        "._pic_000.jpg",
        "Icon\r",
        ".directory",
        "pic_000.jpg:Zone.Identifier",
        "SYNOFILE_THUMB_M_pic_000.jpg",
        ":2eDS_Store",
        ".nfs00a1",
        "pax_global_header",
    ):
        (mine / "day" / "cat" / name).write_bytes(b"not an image")
    after = load(mine)
    assert (after.fingerprint, after.notes) == (before.fingerprint, ())


@pytest.mark.parametrize("name", ["pic_009.jpg.part", "pic_009.jpg~", "thumbs.jpg", "notes.txt"])
def test_what_may_be_a_broken_download_or_a_users_file_is_news(mine: Path, name: str) -> None:
    (mine / "day" / "cat" / name).write_bytes(b"not an image")
    with pytest.raises(datasets.DatasetError, match=rf"unreadable \(1\): day/cat/{name}"):
        load(mine)


# A folder of one's own


def test_domains_and_classes_of_ones_own_folder_are_found_without_reading_pixels(
    mine: Path,
) -> None:
    description = datasets.describe("ImageFolders", mine)
    assert description.domains == ("day", "night")
    assert description.classes == 2
    assert not (mine / ".steppe-cache").exists()


def test_nothing_is_known_of_ones_own_folder_before_it_is_named() -> None:
    assert datasets.describe("ImageFolders").domains == ()


# The cache


def test_images_are_mapped_and_decoded_once(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(mine)
    monkeypatch.setattr(Image, "open", None)
    for recheck in (True, False):
        for domain in load(mine, recheck=recheck).domains:
            assert isinstance(domain.images, np.memmap)
            with pytest.raises(ValueError, match="read-only"):
                domain.images[0] = 0


def test_the_fingerprint_is_that_of_the_pixels_labels_and_sizes(mine: Path) -> None:
    dataset = load(mine)
    assert dataset.fingerprint == fingerprint(dataset.classes, dataset.domains)
    assert dataset.fingerprint != load(mine, size=9).fingerprint


@pytest.mark.parametrize("recheck", [True, False])
def test_a_file_more_or_less_and_a_new_domain_are_noticed_and_named(
    mine: Path, recheck: bool, caplog: pytest.LogCaptureFixture
) -> None:
    before = load(mine)
    (mine / "day" / "dog" / "pic_000.jpg").rename(mine / "night" / "dog" / "pic_009.jpg")
    after = load(mine, recheck=recheck)
    assert [len(domain) for domain in after.domains] == [3, 5]
    assert after.fingerprint != before.fingerprint
    assert "1 new: night/dog/pic_009.jpg; 1 gone: day/dog/pic_000.jpg" in caplog.text
    tree(mine, ["dusk"], ["cat", "dog"], width=25)
    assert len(load(mine, recheck=recheck).domains) == 3


def test_a_file_written_over_is_noticed_and_named_and_maps_of_the_old_cache_stay_readable(
    mine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = load(mine)
    pixels = before.domains[0].images.copy()
    (mine / "day" / "dog" / "pic_000.jpg").write_bytes(jpeg(77))
    image = load(mine).domains[0].images[2]
    assert "1 changed: day/dog/pic_000.jpg" in caplog.text
    expected = as_the_field_loads(mine / "day" / "dog" / "pic_000.jpg")
    np.testing.assert_array_equal(image, np.asarray(expected))
    np.testing.assert_array_equal(before.domains[0].images, pixels)
    (home,) = (mine / ".steppe-cache").iterdir()
    assert len([path for path in home.iterdir() if path.is_dir()]) == 1


def test_a_benchmarks_cache_lies_beside_it_not_among_its_domains(pacs: Path) -> None:
    load(pacs / "PACS", "counts", name="PACS")
    assert {path.name for path in (pacs / "PACS").iterdir()} == set(BENCHMARKS["PACS"].domains)
    assert (pacs / ".steppe-cache" / "PACS-8").is_dir()


def test_a_cache_can_be_sent_elsewhere(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPPE_CACHE", str(tmp_path / "fast disk"))
    images = load(mine).domains[0].images
    assert isinstance(images, np.memmap)
    assert str(tmp_path / "fast disk") in str(images.filename)
    assert not (mine / ".steppe-cache").exists()
