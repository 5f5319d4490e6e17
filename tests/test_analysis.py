"""The blocks of docs/analysis.md run as they stand, on a run as they describe it."""

import re
from pathlib import Path

import pandas as pd
import pytest

from search import results
from search.run import tables
from tests.search.written_run import sweep, write

pytestmark = pytest.mark.slow

BLOCKS = re.findall(
    r"```python\n(.*?)```",
    (Path(__file__).parent.parent / "docs" / "analysis.md").read_text(),
    re.DOTALL,
)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the blocks have defined after the last of them."""
    place = tmp_path_factory.mktemp("checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        folder = write(
            "runs/pacs",
            trials=2,
            states=lambda a, h, s, number: "failed" if (a, number) == ("SAM", 0) else "completed",
        )
        tables.write_selection(folder, results.load("runs/pacs").selection)
        write("runs/pacs-swad", sweep(name="pacs-swad", algorithms=["SWAD"]), trials=2)
        known: dict[str, object] = {}
        for block in BLOCKS:
            exec(compile(block, "docs/analysis.md", "exec"), known)
        yield known


def test_every_block_runs(names):
    assert len(BLOCKS) >= 10
    assert list(names["curves"].columns) == ["ERM", "SAM", "SAGM"]
    assert set(names["both"].trials["sweep"]) == {"written", "pacs-swad"}


def test_duckdb_polars_and_pandas_read_what_steppe_reads(names):
    import duckdb  # here: nothing but these docs needs them

    found = names["found"]
    assert len(names["trials"]) == len(found.trials)
    completed = found.trials.query("state == 'completed'")
    best = completed.groupby("study", observed=True)["objective"].max()
    assert dict(names["best"].select("study", "objective").iter_rows()) == best.to_dict()
    duck = duckdb.sql(BLOCKS[-3].split('"""')[1]).df()
    assert duck["studies"].sum() == 36


def test_the_selection_that_was_recorded_is_the_one_that_is_chosen_anew(names):
    pd.testing.assert_frame_equal(
        names["selection"],
        names["found"].selection,
        check_dtype=False,
        check_categorical=False,
    )
