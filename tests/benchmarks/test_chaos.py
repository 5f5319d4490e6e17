"""A sweep that loses a worker, a node, its driver and its whole cluster ends as if nothing was."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.chaos import KINDS, compare, disturbed, sweep_file
from tests.search.command import steppe, write_yaml


@pytest.mark.slow
def test_its_tables_are_those_of_an_undisturbed_sweep_bit_for_bit(two_cpus, tmp_path):
    file = write_yaml(tmp_path / "sweep.yaml", sweep_file(trials=2, steps=700))
    alone = steppe("launch", file, "--output", tmp_path / "reference")
    assert alone.exit_code == 0, alone.stderr
    # Without long pauses all faults have come before a fast machine has ended the sweep.
    story = disturbed(
        file, tmp_path / "run", list(KINDS), nodes=2, draw=random.Random(0), pauses=(0, 0.3)
    )
    assert story.kills == dict.fromkeys(KINDS, 1)
    assert story.resumes == 2
    differences = compare(tmp_path / "run", tmp_path / "reference")
    assert json.loads(json.dumps(differences)) == dict.fromkeys(differences, 0)

    # The comparison would have seen a difference.
    (file,) = (tmp_path / "run" / "trials").glob("*SAGM.75.0.parquet")
    rows = pq.read_table(file)
    pq.write_table(rows.take([0, 0]), file)
    spoiled = compare(tmp_path / "run", tmp_path / "reference")
    assert (spoiled["trials lost"], spoiled["trials duplicated"]) == (1, 1)
    steps = pa.array([7] * len(rows))
    pq.write_table(rows.set_column(rows.schema.get_field_index("steps"), "steps", steps), file)
    spoiled = compare(tmp_path / "run", tmp_path / "reference")
    assert (spoiled["trials lost"], spoiled["trials differing"]) == (0, 2)
