"""The blocks of docs/analysis.md run as they stand, on a run as they describe it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from search import results
from search.run import tables
from search.run.columns import STUDY_COLUMNS
from tests.search.written_run import sweep, write

pytestmark = pytest.mark.slow

BLOCKS = re.findall(
    r"```python\n(.*?)```",
    (Path(__file__).parent.parent / "docs" / "analysis.md").read_text(),
    re.DOTALL,
)


def write_correct(folder, loaded):
    """The better half of the trials by validation is wrong on the last 10 of 40 images."""
    scores = results.trial_scores(loaded)
    rank = scores.groupby("held_out", observed=True)["x"].rank(pct=True)
    for row, share in zip(scores.to_dict("records"), rank, strict=True):
        right = [*(np.arange(30) < 30 * share), *[share < 0.5] * 10]
        columns = {name: row[name] for name in STUDY_COLUMNS}
        tables.write_correct(folder, columns, row["trial"], 200, {row["held_out"]: right})


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
        loaded = results.load("runs/pacs")
        tables.write_selection(folder, loaded.selection)
        write_correct(folder, loaded)
        write("runs/pacs-swad", sweep(name="pacs-swad", algorithms=["SWAD"]), trials=2)
        known: dict[str, object] = {}
        for block in BLOCKS:
            exec(compile(block, "docs/analysis.md", "exec"), known)
        yield known


def test_every_block_runs(names):
    assert len(BLOCKS) >= 10
    assert list(names["curves"].columns) == ["ERM", "SAM", "SAGM"]
    assert set(names["both"].trials["sweep"]) == {"written", "pacs-swad"}


def test_the_images_on_which_better_validation_means_worse_are_found(names):
    assert sorted(names["images"]) == list(range(30, 40))
    assert np.corrcoef(names["x"][~names["choosing"]], names["on_these"])[0, 1] < -0.5


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
