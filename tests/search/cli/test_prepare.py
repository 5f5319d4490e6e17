"""`prepare` brings images from a folder, an archive or a URL to where trials map them."""

from __future__ import annotations

import functools
import io
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import datasets
from datasets.benchmarks import BENCHMARKS
from datasets.mnist import FILES
from search.checks.open_datasets import INDEX, open_dataset
from search.cli.prepare import prepare
from search.errors import SteppeError
from search.sweep.schema import Dataset
from tests.datasets.photos import idx, jpeg, load, numbered, tree
from tests.datasets.test_further_benchmarks import camelyon
from tests.search.command import printed, refused, write_yaml

PACS = BENCHMARKS["PACS"].domains


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPPE_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tree(tmp_path / "mine", ["day", "night"], ["cat", "dog"])


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """PACS as it is handed round: in a folder of another name, with rubbish beside it."""
    source = tree(tmp_path / "source" / "kfold", PACS, numbered(7), count=1)
    (source.parent / "readme.txt").write_text("PACS")
    made = shutil.make_archive(str(tmp_path / "PACS"), "zip", source.parent)
    shutil.rmtree(source.parent)
    return Path(made)


def test_a_folder_is_used_where_it_lies(mine: Path) -> None:
    text = printed("prepare", "ImageFolders", mine, "--size", 8)
    assert "8 images, 2 classes, 3 x 8 x 8" in text
    assert "In training: 3 x 8 x 8; augmentation: random crops" in text
    assert "training.augmentation: none" in text  # they are small
    assert load(mine, originals=512).fingerprint in text
    assert (mine / ".steppe-cache" / "ImageFolders-mine-8-512").is_dir()


def test_what_is_printed_for_the_sweep_file_loads_the_dataset(archive: Path) -> None:
    text = printed("prepare", "PACS", archive, "--size", 8, "--allow", "counts")
    line = re.search(r"dataset: (\{.*\})", text)
    assert line is not None
    dataset = datasets.load(**yaml.safe_load(line[1]))
    assert sum(len(domain) for domain in dataset.domains) == 28


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Where its files are fetched from."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["a path", "a file URL", "a URL"])
def test_an_archive_is_unpacked_to_the_benchmarks_folder(
    archive: Path, tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "my data"
    with served(tmp_path) as url:
        places = {"a path": str(archive), "a file URL": archive.as_uri()}
        place = places.get(kind, f"{url}/PACS.zip")
        prepare("PACS", place, root, 8, ["counts"])
        assert {path.name for path in root.iterdir()} == {"PACS", ".steppe-cache"}
        assert len(load(root, "counts", name="PACS").domains) == 4
        again = r"my data/PACS exists already; use it with `python -m"
        with pytest.raises(SteppeError, match=again):
            prepare("PACS", place, root, 8, ["counts"])


def test_an_archive_whose_folders_are_no_domains_is_found_in_it(tmp_path: Path) -> None:
    camelyon(tmp_path / "source" / "blob")
    made = shutil.make_archive(str(tmp_path / "blob"), "gztar", tmp_path / "source")
    options = ["--root", "new", "--size", 8, "--allow", "counts"]
    text = printed("prepare", "WILDSCamelyon", made, *options)
    assert "hospital_4" in text
    found = load(tmp_path / "new", "counts", name="WILDSCamelyon", originals=512)
    assert found.fingerprint in text
    (index,) = (tmp_path / "new").rglob(INDEX)
    row = pd.read_parquet(index).iloc[0]
    assert (row["class"], row["file"].split("/")[1]) == ("0", "patches")


def test_ones_own_archive_gets_a_folder_of_its_name(mine: Path, tmp_path: Path) -> None:
    made = shutil.make_archive(str(tmp_path / "camera traps"), "gztar", mine.parent, "mine")
    prepare("ImageFolders", made, None, 8, [])
    assert len(load(tmp_path / "data" / "camera traps").domains) == 2


def test_an_archive_that_reaches_out_leaves_nothing_behind(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as file:
        for name in ("photo/dog/a.jpg", "../../evil.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(jpeg(0))
            file.addfile(member, io.BytesIO(jpeg(0)))
    with pytest.raises(SteppeError, match=r"'\.\./\.\./evil\.jpg', which names a place outside"):
        prepare("PACS", "evil.tar", Path("deep/data"), 8, [])
    assert list(Path("deep/data").iterdir()) == []
    assert not list(tmp_path.rglob("evil.jpg"))


def test_the_index_is_a_table_of_all_files(mine: Path) -> None:
    (mine / "night" / "dog" / "pic_001.jpg").write_bytes(jpeg(5, 40, 30)[:-200])
    (mine / "night" / "dog" / "pic_002.jpg").write_bytes(b"no image")
    prepare("ImageFolders", str(mine), None, 8, ["truncated", "unreadable"])
    (file,) = (mine / ".steppe-cache").rglob(INDEX)
    table = pd.read_parquet(file)
    assert pq.read_schema(file).metadata[b"schema_version"] == b"1"
    assert table.file.tolist()[-2:] == ["dog/pic_001.jpg", "dog/pic_002.jpg"]
    assert table.state.tolist() == ["whole"] * 7 + ["truncated", "unreadable"]
    row = table.iloc[7]
    assert (row.domain, row["class"], row.label) == ("night", "dog", 1)
    assert (row.width, row.height) == (40, 30)
    readable = table[table.state != "unreadable"]
    for domain in load(mine, "truncated", "unreadable").domains:
        rows = readable[readable.domain == domain.name]
        assert rows.label.tolist() == domain.labels.tolist()
        assert domain.sizes is not None
        np.testing.assert_array_equal(rows[["width", "height"]], domain.sizes)


def test_unreadable_images_are_refused_but_listed_in_the_table(mine: Path) -> None:
    (mine / "day" / "cat" / "pic_000.jpg").write_bytes(b"no image")
    with pytest.raises(SteppeError, match=r"unreadable \(1\): day/cat/pic_000.jpg: no image"):
        open_dataset(Dataset(name="ImageFolders", root=mine, size=8))
    (file,) = (mine / ".steppe-cache").rglob(INDEX)
    assert pd.read_parquet(file).state.value_counts()["unreadable"] == 1


@pytest.mark.parametrize(
    ("dataset", "source", "root", "sentence"),
    [
        ("pacs", "mine", None, r"DATASET is pacs; did you mean PACS\?"),
        ("RotatedDigits", "mine", None, "RotatedDigits is bundled: there is nothing to prepare"),
        ("PACS", "nowhere", None, "SOURCE nowhere does not exist"),
        ("PACS", "s3://bucket/PACS", None, "must be a folder, a zip or tar archive, or an address"),
        ("PACS", "mine", None, r"no PACS in .*mine"),
        ("PACS", "mine/day/cat/pic_000.jpg", None, "is no zip or tar archive"),
        ("ImageFolders", "mine", "data", "is a folder and is used where it lies; leave --root out"),
        ("RotatedMNIST", "mine/day/cat/pic_000.jpg", None, "must be the folder that holds train-"),
    ],
)
def test_what_cannot_be_prepared_is_told(
    mine: Path, dataset: str, source: str, root: str | None, sentence: str
) -> None:
    with pytest.raises(SteppeError, match=sentence):
        prepare(dataset, source, Path(root) if root else None, None, [])


def test_mnist_is_fetched_only_when_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fetch(root: str, download: bool) -> None:
        assert download
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for i, name in enumerate(FILES):
            shape = (12, 28, 28) if i % 2 == 0 else (12,)
            (raw / name).write_bytes(idx(np.zeros(shape, np.uint8)))

    monkeypatch.setattr("torchvision.datasets.MNIST", fetch)
    with pytest.raises(SteppeError, match=r"no MNIST in .*; `python -m search prepare Rotat"):
        prepare("RotatedMNIST", str(tmp_path), None, None, [])
    prepare("RotatedMNIST", "download", None, None, ["counts"])
    assert len(datasets.load("RotatedMNIST", tmp_path / "data", allow=["counts"]).domains) == 6


def test_the_command_ends_with_status_2_and_one_message(mine: Path) -> None:
    shutil.rmtree(mine / "day" / "cat")
    command = ["prepare", "ImageFolders", "mine", "--size", 8]
    message = refused(*command)
    assert "missing_classes (1): day has no images of class cat" in message
    assert "allow: [missing_classes]" in message
    assert "allowed missing_classes (1)" in printed(*command, "--allow", "missing_classes")


def to_office_31(mine: Path) -> None:
    for domain in ("day", "night"):
        (mine / domain).rename(mine / "images")
        (mine / domain).mkdir()
        (mine / "images").rename(mine / domain / "images")


def to_floats(mine: Path) -> None:
    Image.new("F", (8, 8)).save(mine / "day" / "cat" / "height.tif")


def to_latin_1(mine: Path) -> None:
    (mine / "day" / "dog").rename(mine / "day" / "caf\udce9")


def to_a_copy(mine: Path) -> None:
    shutil.copy(mine / "day" / "dog" / "pic_000.jpg", mine / "night" / "dog" / "x.jpg")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (to_office_31, "only one class, images"),
        (to_floats, "day/cat/height.tif: mode F (floating point"),
        (to_latin_1, r"the class folder 'caf\xe9'"),
        (to_a_copy, "duplicates (1): 1 image is in two domains, day and night"),
    ],
)
def test_what_is_no_result_ends_each_command_with_status_2(
    mine: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(mine)
    assert sentence in refused("prepare", "ImageFolders", "mine", "--size", 8)
    dataset = {"name": "ImageFolders", "root": "mine", "size": 8}
    sweep = {"name": "s", "dataset": dataset, "algorithms": ["ERM"], "model": {"name": "cnn"}}
    assert sentence in refused("launch", write_yaml(Path("s.yaml"), sweep), "--output", "run")
    assert not Path("run").exists() or not any(Path("run").iterdir())
