import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datasets
import models
from search.checks.load_sweep import checked
from search.study import study
from search.study.study import Study, studies
from search.sweep.schema import Sweep

SWEEP = {
    "name": "x",
    "dataset": {"name": "RotatedDigits"},
    "model": {"name": "cnn"},
    "algorithms": ["ERM", "DISAM+SAGM"],
    "held_out": ["75", "0"],
    "seeds": [2, 0],
}


def sweep(**changes: object) -> Sweep:
    return checked({**SWEEP, **changes}, "sweep.yaml")


def test_studies_come_in_the_order_of_the_file():
    assert [study.id for study in studies(sweep())] == [
        "RotatedDigits.cnn.ERM.75.2",
        "RotatedDigits.cnn.ERM.75.0",
        "RotatedDigits.cnn.ERM.0.2",
        "RotatedDigits.cnn.ERM.0.0",
        "RotatedDigits.cnn.DISAM+SAGM.75.2",
        "RotatedDigits.cnn.DISAM+SAGM.75.0",
        "RotatedDigits.cnn.DISAM+SAGM.0.2",
        "RotatedDigits.cnn.DISAM+SAGM.0.0",
    ]


def test_all_holds_out_every_domain_in_the_datasets_order():
    found = studies(sweep(held_out="all", algorithms=["ERM"], seeds=[0]))
    assert [study.held_out for study in found] == ["0", "15", "30", "45", "60", "75"]


NAMES = st.text(max_size=300) | st.text("aA_ .-/é照", max_size=4)
STUDIES = st.builds(Study, NAMES, NAMES, NAMES, NAMES, st.integers(0, 2**63))


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(STUDIES, STUDIES)
def test_two_studies_never_share_a_file_and_every_file_can_be_written(one, other):
    assert (one.id == other.id) == (one == other)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+.-]*", one.id)
    assert len(f"{one.id}.9999.safetensors".encode()) <= 255


ALIKE = [
    *("照片", "素描", "фото", "эскиз", "صور", "رسم", "🎨", "📷", "é", "e\u0301", "ß", "ss", ""),
    *("a b", "a_b", "a+b", "a.b", "a-b", "a/b", "a\nb", "a b ", "A b", "A_b", "a  b", "..", "."),
    *("photo", "Photo", "PHOTO", "012", "12", "0o14", "1e3", "CON", "\udce9"),
    *("x" * 254 + "y", "x" * 254 + "z"),
]


def test_domains_that_look_alike_have_files_of_their_own_where_case_counts_for_nothing():
    ids = [Study("ImageFolders", "cnn", "ERM", name, 0).id for name in ALIKE]
    digest_of_another = ids[0].split(".")[3]
    ids.append(Study("ImageFolders", "cnn", "ERM", digest_of_another, 0).id)
    assert len({name.casefold() for name in ids}) == len(ids)


@pytest.mark.parametrize(
    "names",
    [
        ("RotatedDigits", "cnn", "DISAM+SAGM", "75"),
        ("OfficeHome", "resnet50", "GGA-L+SAM", "Real World"),
        ("ColoredMNIST", "timm/vit_small_patch16_224", "ASAM-elementwise", "+90%"),
        ("ImageFolders", "open_clip/ViT-B-32", "ERM", "art_painting"),
    ],
)
def test_a_name_that_says_which_study_it_is_stays_as_it_was(names):
    assert Study(*names, 1).id == Study(*names, 1, in_earlier_run=True).id


def test_no_domain_of_a_known_dataset_has_another_name_than_before():
    for dataset, entry in datasets.DATASETS.items():
        for domain in entry.description.domains:
            now, before = (Study(dataset, "cnn", "ERM", domain, 0, e) for e in (False, True))
            assert now.id == before.id
            assert now == before
    assert (*models.FAMILIES,) == study._FAMILIES


def test_a_run_of_an_earlier_commit_keeps_its_names():
    named = Study("ImageFolders", "cnn", "ERM", "Real World", 0, in_earlier_run=True)
    assert named.id == "ImageFolders.cnn.ERM.Real_World.0"
    assert [s.in_earlier_run for s in studies(sweep().of_earlier_run())] == [True] * 8
