from dataclasses import replace

import pytest

from datasets.benchmarks import BENCHMARKS
from search.results.combined import KINDS
from search.results.published_tables import beside, content
from search.results.summaries import AVERAGE, Cell, Column, ResultTable
from search.space.algorithm_names import parts

FIVE = ["PACS", "VLCS", "OfficeHome", "TerraIncognita", "DomainNet"]


def table(columns, method="training-domain"):
    cells = (Cell(0.5, None, 1),) * len(columns)
    made = tuple(Column(d if h == AVERAGE else h, d, h, method, n) for d, h, n in columns)
    return ResultTable("title", "resnet50", made, {"ERM": cells, "SAM": cells}, ("a note",))


PACS = [("PACS", "photo", 1), ("PACS", "sketch", 1), ("PACS", AVERAGE, 2)]


def test_every_row_has_a_source_and_fits_its_average():
    data = content()
    assert len(data["rows"]) > 20
    for row in data["rows"]:
        assert data["sources"][row["source"]].keys() == {"paper", "place"}
        mean = sum(row[name] for name in FIVE) / 5
        # Sources average before they round; a digit that was copied wrong is off by more.
        assert row["average"] == pytest.approx(mean, abs=0.15), row
    keys = [(row["algorithm"], row["source"]) for row in data["rows"]]
    assert len(set(keys)) == len(keys)


def test_the_datasets_are_those_of_the_benchmarks_with_all_their_domains():
    assert {name: len(BENCHMARKS[name].domains) for name in FIVE} == content()["domains"]


def test_algorithms_are_called_as_a_sweep_calls_them():
    for row in content()["rows"]:
        name, _, combination = row["algorithm"].partition(", ")
        assert parts(name) or name in ("ERM", "ERM++", "SWAD", "SMA", "zero-shot")
        assert combination in ("", *KINDS.values())


def test_a_table_has_the_rows_of_its_own_model_or_of_a_resnet50():
    def shown(model):
        return beside(replace(table([("PACS", AVERAGE, 4)]), model=model))

    clip = shown("open_clip/ViT-B-16")
    assert "zero-shot (published, Zhang 2024, table 2)" in clip.published
    assert not any(name.startswith("SAGM") for name in clip.published)
    assert "of open_clip/ViT-B-16" in clip.notes[1]
    assert shown("convnext_tiny").published == shown("resnet50").published


def test_beside_sets_of_domains_no_number_of_single_ones_stands():
    pairs = table([("PACS", "art_painting/photo", 1), ("PACS", AVERAGE, 4)])
    columns = tuple(replace(column, sets=True) for column in pairs.columns)
    assert beside(replace(pairs, columns=columns)).published == {}
    assert beside(pairs).published


def test_published_numbers_stand_below_the_average_with_their_sources():
    found = beside(table(PACS))
    row = found.published["SAGM (published, Wang 2023)"]
    assert [cell.mean for cell in row] == [None, None, pytest.approx(0.866)]
    assert found.rows == table(PACS).rows
    assert found.notes[0] == "a note"
    assert "they take no part in the marks" in found.notes[1]
    assert "over 2 held-out domains here, and over 4 in the papers" in found.notes[2]
    assert any(note.startswith("Wang 2023: ") and "arXiv" in note for note in found.notes)


def test_the_average_over_datasets_is_the_sources_own():
    columns = [(name, AVERAGE, 4) for name in FIVE] + [(AVERAGE, AVERAGE, 1)]
    row = beside(table(columns)).published["SAGM (published, Wang 2023)"]
    assert [cell.text() for cell in row] == ["86.6", "80.0", "70.1", "48.8", "45.0", "66.1"]
    some = beside(table([*columns[:2], columns[-1]])).published["SAGM (published, Wang 2023)"]
    assert [cell.text() for cell in some] == ["86.6", "80.0", ""]


@pytest.mark.parametrize(
    ("columns", "method"),
    [
        (PACS, "oracle"),
        ([("RotatedDigits", "0", 1), ("RotatedDigits", AVERAGE, 2)], "training-domain"),
        ([("PACS", "photo", 1)], "training-domain"),
    ],
)
def test_a_table_without_published_numbers_says_so(columns, method):
    found = beside(table(columns, method))
    assert found.published == {}
    assert found.notes[-1].startswith("there are no published numbers for this table")
