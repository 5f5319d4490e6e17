"""Benchmarks that are no domain/class/image: small layouts as their authors distribute them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import datasets
from datasets.arranged import BREEDS, arranged_tree
from datasets.further_benchmarks import FURTHER
from tests.datasets.photos import jpeg, load, numbered, tree
from training.run import Run
from training.train import train

PLACES = ("beach", "desert", "dirt", "jungle", "mountain", "snow")
REGIONS = {"IND": "Asia", "FRA": "Europe", "EGY": "Africa", "USA": "Americas", "FJI": "Oceania"}


def write(root: Path, places: Iterable[str]) -> None:
    """Another small picture at each of the places."""
    for seed, place in enumerate(places):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed, 8, 8))


def sviro(root: Path) -> None:
    tree(root, FURTHER["SVIRO"].domains, numbered(7), count=1, width=8)


def office31(root: Path) -> None:
    folders = product(FURTHER["Office31"].domains, numbered(31))
    write(root, (f"{domain}/images/{label}/frame_0001.jpg" for domain, label in folders))


def digits_dg(root: Path) -> None:
    folders = product(FURTHER["DigitsDG"].domains, ("train", "val"), range(10))
    write(root, (f"{domain}/{part}/{digit}/{part}_{digit}.jpg" for domain, part, digit in folders))


def camelyon(root: Path) -> None:
    """Rows of the hospitals in turn, tumours among them."""
    places, lines = [], [",patient,node,x_coord,y_coord,tumor,slide,center,split"]
    for number in range(30):
        hospital, tumour = number % 5, number // 5 % 2
        slide = f"patient_00{hospital}_node_1"
        places.append(f"patches/{slide}/patch_{slide}_x_{number}_y_32.png")
        lines.append(f"{number},00{hospital},1,{number},32,{tumour},{hospital},{hospital},0")
    write(root, places)
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")


def fmow(root: Path) -> None:
    """Each country's image of each class, one after the other; the third row is sequestered."""
    write(root, (f"images/rgb_img_{number}.png" for number in range(66)))
    countries = "\n".join(f"{code},{code},{region}" for code, region in REGIONS.items())
    (root / "country_code_mapping.csv").write_text(f"name,alpha-3,region\n{countries}\n")
    lines = ["split,img_filename,timestamp,country_code,category"]
    for number in range(66):
        country = [*REGIONS, "XKX"][number % 6]
        part = "seq" if number == 2 else "train"
        lines.append(f"{part},x.jpg,2016-01-01T00:00:00Z,{country},class_{number % 62:02}")
    (root / "rgb_metadata.csv").write_text("\n".join(lines) + "\n")


def spawrious(root: Path) -> None:
    folders = product("01", PLACES, BREEDS, range(2))
    write(root, (f"{part}/{place}/{breed}/img_{i}.png" for part, place, breed, i in folders))


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "SVIRO": sviro,
    "Office31": office31,
    "DigitsDG": digits_dg,
    "WILDSCamelyon": camelyon,
    "WILDSFMoW": fmow,
    **{name: spawrious for name in FURTHER if name.startswith("Spawrious")},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name, layout in LAYOUTS.items():
        if not (root / FURTHER[name].folder).exists():
            layout(root / FURTHER[name].folder)
    return root


@pytest.mark.parametrize("name", FURTHER)
def test_each_is_trained_from_its_folder(data: Path, name: str) -> None:
    about, dataset = datasets.describe(name), load(data, "counts", name=name)
    assert tuple(domain.name for domain in dataset.domains) == about.domains
    assert len(dataset.classes) == about.classes
    assert dataset.cropped == datasets.DATASETS[name].cropped == ("Spawrious" not in name)
    within = load(data / FURTHER[name].folder, "counts", name=name)
    assert within.fingerprint == dataset.fingerprint
    run = Run(name, None, "mlp", "ERM", about.domains[0], 0, 2, 2, {"batch_size": 2})
    result = train(run, dataset, lambda evaluation: None)
    assert result.state == "completed"
    assert {s.domain for s in result.evaluations[-1].scores if s.role == "held_out"} == {
        about.domains[0]
    }


def files(name: str, root: Path) -> dict[str, list[str]]:
    """The files of each domain: class, and place."""
    benchmark = FURTHER[name]
    assert benchmark.arrange is not None
    found = arranged_tree(root, benchmark.domains, benchmark.arrange)
    return {domain.name: [file.path for file in domain.files] for domain in found.domains}


def test_a_hospital_has_its_rows_in_the_order_of_the_table(data: Path) -> None:
    found = files("WILDSCamelyon", data / "camelyon17_v1.0")["hospital_3"]
    numbers = [int(file.split("_x_")[1].split("_")[0]) for file in found]
    assert numbers == [3, 8, 13, 18, 23, 28]
    assert [file[0] for file in found] == ["0", "1", "0", "1", "0", "1"]


def test_regions_are_numbered_as_they_appear_and_sequestered_images_are_left_out(
    data: Path,
) -> None:
    found = files("WILDSFMoW", data / "fmow_v1.1")
    assert found["region_0"][1] == "class_06/images/rgb_img_6.png"
    assert found["region_5"][0] == "class_05/images/rgb_img_5.png"  # a country of no region
    assert [len(own) for own in found.values()] == [11, 11, 10, 11, 11, 11]
    assert not any("rgb_img_2.png" in file for file in found["region_2"])


def test_a_digit_is_of_both_parts(data: Path) -> None:
    found = files("DigitsDG", data / "digits_dg")["svhn"]
    assert found[:2] == ["0/svhn/train/0/train_0.jpg", "0/svhn/val/0/val_0.jpg"]


def test_breeds_stand_before_their_backgrounds(data: Path) -> None:
    def places(name: str, domain: str) -> set[str]:
        found = files(name, data / "spawrious224")[domain]
        return {f.split("/")[0] + " " + "/".join(f.split("/")[1:3]) for f in found}

    assert places("SpawriousO2OEasy", "SC_group_2") == {
        *("bulldog 1/desert", "dachshund 1/jungle", "labrador 1/dirt", "corgi 1/snow"),
        *(f"{breed} 1/beach" for breed in BREEDS),
    }
    assert places("SpawriousO2OEasy", "Test") == {
        f"{place} {part}/{where}"
        for part in "01"
        for place, where in zip(BREEDS, ("dirt", "snow", "desert", "jungle"), strict=True)
    }
    assert places("SpawriousM2MHard", "SC_group_1") == {
        *("bulldog 0/dirt", "dachshund 0/jungle", "labrador 0/snow", "corgi 0/beach"),
    }
    assert places("SpawriousM2MHard", "SC_group_2") == {
        *("bulldog 0/jungle", "dachshund 0/dirt", "labrador 0/beach", "corgi 0/snow"),
    }
    for name in LAYOUTS:
        if name.startswith("Spawrious"):
            every = [f for own in files(name, data / "spawrious224").values() for f in own]
            assert len(every) == len(set(every))


def test_of_a_background_the_first_images_by_name_are_taken(tmp_path: Path) -> None:
    for part, place, breed in product("01", PLACES, BREEDS):
        (tmp_path / part / place / breed).mkdir(parents=True)
    names = [f"img_{number:03}.png" for number in range(98)]
    for name in np.random.default_rng(0).permutation(names):
        (tmp_path / "0/beach/corgi" / name).touch()
    assert files("SpawriousO2OHard", tmp_path)["SC_group_1"] == [
        f"corgi/0/beach/corgi/{name}" for name in names[:96]
    ]


def refused(name: str, root: Path, *allow: str) -> str:
    with pytest.raises((datasets.DatasetError, FileNotFoundError)) as error:
        load(root, *allow, name=name)
    return str(error.value)


@pytest.mark.parametrize("name", ["SVIRO", "WILDSCamelyon", "WILDSFMoW", "SpawriousM2MEasy"])
def test_a_wrong_root_is_refused(data: Path, name: str) -> None:
    message = refused(name, data / "digits_dg" / "syn")
    assert FURTHER[name].folder in message
    assert ", ".join(FURTHER[name].inside) in message


@pytest.mark.parametrize(
    ("name", "gone", "message"),
    [
        ("SVIRO", "sviro/tesla", "lacks tesla"),
        ("Office31", "office31/dslr", "lacks dslr"),
        ("Office31", "office31/dslr/images/class_003", "dslr has no images of class class_003"),
        ("DigitsDG", "digits_dg/syn/val", "there is no folder syn/val"),
        ("SpawriousO2OHard", "spawrious224/1", "lacks 1"),
        ("SpawriousO2OHard", "spawrious224/1/beach/corgi", "there is no folder 1/beach/corgi"),
        ("WILDSCamelyon", "camelyon17_v1.0/patches/patient_003_node_1", "unreadable (6)"),
        ("WILDSFMoW", "fmow_v1.1/images/rgb_img_7.png", "unreadable (1): images/rgb_img_7.png"),
    ],
)
def test_what_is_missing_is_named(
    data: Path, tmp_path: Path, name: str, gone: str, message: str
) -> None:
    folder = FURTHER[name].folder
    shutil.copytree(data / folder, tmp_path / folder)
    place = tmp_path / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert message in refused(name, tmp_path, "counts")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SVIRO", "70 images in all, 56,000 are published"),
        ("Office31", "amazon has 31 images, 2,817 are published"),
        ("WILDSCamelyon", "hospital_4 has 6 images, 146,722 are published"),
        ("SpawriousM2MEasy", "Test has 16 images, 25,344 are published"),
    ],
)
def test_other_numbers_of_images_are_refused(data: Path, name: str, message: str) -> None:
    assert message in refused(name, data)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",center,", ",hospital,", "has no column center"),
        (",3,3,0", ",3,7,0", "has the center '7'"),
        ("\n8,003,1", "\n8,../../x,1", "has the name 'patient_../../x_node_1'"),
        ("8,003,1,8,32,1,3,3,0\n", "8,003", "is cut short in line 10"),
    ],
)
def test_a_table_that_is_not_the_authors_is_refused(
    data: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    shutil.copytree(data / "camelyon17_v1.0", tmp_path / "camelyon17_v1.0")
    table = tmp_path / "camelyon17_v1.0" / "metadata.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.partition(old)[0] + new if new == "8,003" else text.replace(old, new))
    assert message in refused("WILDSCamelyon", tmp_path, "counts")


def test_a_changed_table_is_decoded_again(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "camelyon17_v1.0", tmp_path / "camelyon17_v1.0")
    before = load(tmp_path, "counts", name="WILDSCamelyon")
    table = tmp_path / "camelyon17_v1.0" / "metadata.csv"
    table.write_text(table.read_text().replace("0,000,1,0,32,0", "0,000,1,0,32,1"))
    after = load(tmp_path, "counts", name="WILDSCamelyon", recheck=False)
    assert before.domains[0].labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert after.domains[0].labels.tolist() == [1, 1, 0, 1, 0, 1]
