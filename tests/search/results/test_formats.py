import csv
import io
import json

import pandas as pd
import pytest

from search.results.formats import FORMATS
from search.results.summaries import Cell, Column, ResultTable, Summary
from search.results.summary_document import document, marks


def cell(percent, note=""):
    return Cell(percent / 100, 0.002, 3, note)


def column(name):
    return Column(name, "Terra_Incognita", name, "training-domain")


TABLE = ResultTable(
    title="Terra_Incognita, resnet50, training-domain selection",
    model="resnet50",
    columns=(column("location_100"), column("[photo]")),
    rows={
        "ERM": (cell(85.04), cell(97)),
        "SAM": (cell(86.1), Cell(None, None, 0, "all 8 trials failed")),
        "SAGM": (cell(99, "2 of 3 seeds"), cell(98)),
        "DISAM+SAGM": (cell(86.14), cell(96)),
    },
    notes=("SAM, [photo], seed 0: all 8 trials failed",),
    published={"SAM (published, A_B 2023)": (Cell(0.995, None, 0), Cell(None, None, 0))},
)
WINNERS = pd.DataFrame(
    {
        "method": "training-domain",
        "dataset": "Terra_Incognita",
        "model": "resnet50",
        "algorithm": ["ERM", "SAM"],
        "held_out": "[photo]",
        "seed": [0, 1],
        "number": pd.array([0, 7], dtype="Int64"),
        "validation": [0.91234567, 0.9],
        "accuracy": float("nan"),  # as at equal cost
        "weight_decay": [5e-05, 0.0],
        "rho": [float("nan"), 0.05],
        "batch_size": pd.array([None, 32], dtype="Int64"),
        "dropout": 0.0,
    }
)
SUMMARY = Summary((TABLE,), WINNERS)


def written(name, summary=SUMMARY):
    stream = io.StringIO()
    FORMATS[name](document(summary), stream)
    return stream.getvalue()


def test_the_best_and_second_of_a_column_are_marked_among_complete_cells():
    assert marks(TABLE) == {
        ("SAM", 0): "best",  # 86.1 as printed, like DISAM+SAGM
        ("DISAM+SAGM", 0): "best",
        ("ERM", 0): "second",
        ("SAGM", 1): "best",
        ("ERM", 1): "second",
    }


def test_a_number_without_a_rival_is_not_marked():
    table = ResultTable("D", "m", (column("a"),), {"ERM": (cell(80),)})
    assert marks(table) == {}


def test_markdown_has_bold_best_and_underlined_second():
    assert written("markdown") == (
        "### Terra_Incognita, resnet50, training-domain selection\n\n"
        "|  | location_100 | [photo] |\n"
        "| --- | ---: | ---: |\n"
        "| ERM | <u>85.0 ± 0.2</u> | <u>97.0 ± 0.2</u> |\n"
        "| SAM | **86.1 ± 0.2** | all 8 trials failed |\n"
        "| SAGM | 99.0 ± 0.2 (2 of 3 seeds) | **98.0 ± 0.2** |\n"
        "| DISAM+SAGM | **86.1 ± 0.2** | 96.0 ± 0.2 |\n"
        "| *SAM (published, A_B 2023)* | *99.5* |  |\n"
        "\n"
        "- SAM, [photo], seed 0: all 8 trials failed\n"
        "\n"
        "### Winners (training-domain, held_out [photo], dropout 0)\n\n"
        "| algorithm | seed | trial | validation | weight_decay | rho | batch_size |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
        "| ERM | 0 | 0 | 91.2 | 5e-05 |  |  |\n"
        "| SAM | 1 | 7 | 90.0 | 0 | 0.05 | 32 |\n"
    )


def test_latex_is_booktabs_with_names_escaped():
    text = written("latex")
    table, winners = text.split(r"\end{table}")[:2]
    assert table.splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Terra\_Incognita, resnet50, training-domain selection}",
        r"\begin{tabular}{lcc}",
        r"\toprule",
        r" & location\_100 & [photo] \\",
        r"\midrule",
        r"ERM & \underline{85.0 $\pm$ 0.2} & \underline{97.0 $\pm$ 0.2} \\",
        r"SAM & \textbf{86.1 $\pm$ 0.2} & all 8 trials failed \\",
        r"SAGM & 99.0 $\pm$ 0.2 (2 of 3 seeds) & \textbf{98.0 $\pm$ 0.2} \\",
        r"DISAM+SAGM & \textbf{86.1 $\pm$ 0.2} & 96.0 $\pm$ 0.2 \\",
        r"\midrule",
        r"SAM (published, A\_B 2023) & 99.5 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\footnotesize SAM, [photo], seed 0: all 8 trials failed",
    ]
    assert r"weight\_decay" in winners
    assert r"Winners (training-domain, held\_out [photo], dropout 0)" in winners


def test_csv_holds_full_fractions_and_the_reason_of_an_empty_cell():
    rows = list(csv.DictReader(io.StringIO(written("csv"))))
    assert len(rows) == 9
    names = "method,dataset,model,algorithm,held_out,accuracy,error,seeds,note,published"
    first = "training-domain,Terra_Incognita,resnet50,ERM,location_100,0.8504,0.002,3,,False"
    assert written("csv").splitlines()[:2] == [names, first]
    (published,) = (row["algorithm"] for row in rows if row["published"] == "True")
    assert published == "SAM (published, A_B 2023)"
    assert (rows[3]["accuracy"], rows[3]["note"]) == ("", "all 8 trials failed")


def test_json_holds_cells_and_winners_with_null_for_what_is_missing():
    content = json.loads(written("json"), parse_constant=pytest.fail)
    sam = [cell["accuracy"] for cell in content["results"] if cell["algorithm"] == "SAM"]
    assert sam == [0.861, None]
    first, second = content["winners"]
    assert (first["rho"], first["batch_size"]) == (None, None)
    assert (second["validation"], second["batch_size"]) == (0.9, 32)


def test_the_terminal_shows_the_best_bold_and_the_second_underlined(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = io.StringIO()
    stream.isatty = lambda: True
    FORMATS["table"](document(SUMMARY), stream)
    assert "\x1b[1m86.1 ± 0.2\x1b[0m" in stream.getvalue()
    assert "\x1b[4m85.0 ± 0.2\x1b[0m" in stream.getvalue()


def test_a_pipe_gets_whole_cells_without_escapes():
    text = written("table")
    assert "\x1b" not in text
    assert "99.0 ± 0.2 (2 of 3 seeds)" in text
    assert "[photo]" in text  # a name is never read as markup
    assert "SAM, [photo], seed 0: all 8 trials failed" in text
    assert max(map(len, text.splitlines())) < 120


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_without_winners_can_be_written(name):
    table = ResultTable("D", "m", (column("a"),), {"ERM": (Cell(None, None, 0, "no trial"),)})
    assert "no trial" in written(name, Summary((table,), WINNERS.iloc[:0]))
