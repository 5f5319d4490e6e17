"""The sweep of a run as results read it: that of the driver, whatever commit wrote it."""

from __future__ import annotations

import pytest
import yaml

from search import results
from search.checks.load_sweep import sweep_of
from search.errors import SteppeError
from search.report.reported_run import read
from search.results.loading import read_sweep
from search.run.run_folder import MANIFEST, SWEEP
from search.study.plan import plans
from search.study.study import studies
from tests.search.play import record, small_sweep
from tests.search.report.played_run import begin, several
from tests.search.written_run import sweep, write


def test_it_is_the_sweep_of_the_driver(folder):
    record(small_sweep(search={"trials": 3}), folder)
    assert read_sweep(folder) == sweep_of(folder)
    assert studies(read_sweep(folder)) == studies(sweep_of(folder))


def test_keys_of_another_commit_are_ignored_or_take_their_defaults(tmp_path):
    old = sweep(training={"steps": 7, "gone": 1}, search={"trials": 2, "budget": {"gone": 1}})
    old |= {"gone": {"a": [1]}, "search": {**old["search"], "gone": None}}
    found = read_sweep(write(tmp_path / "run", old, trials=1))
    assert (found.training.steps, found.training.optimizer) == (7, "adam")
    assert (found.search.trials, found.search.share) == (2, "none")
    assert found.search.budget.passes is None
    assert found.seeds == (0, 1, 2)


def test_values_that_no_commit_wrote_are_named(folder):
    wrong = sweep(search={"trials": 2, "sampler": "tpo"}) | {"gone": 1}
    folder.write_bytes(SWEEP, yaml.safe_dump(wrong).encode())
    with pytest.raises(SteppeError, match=r"search\.sampler .*tpe.*put a copy back"):
        read_sweep(folder)


def test_studies_of_a_run_that_an_earlier_commit_began_keep_their_names(tmp_path):
    data = sweep(dataset={"name": "ImageFolders"}, held_out=["Real World"], seeds=[0])
    folder = write(tmp_path / "run", data, trials=1)
    new = [study.id for study in studies(read_sweep(folder))]
    folder.write_bytes(MANIFEST, b'{"datasets": {}, "sessions": []}')
    old = [study.id for study in studies(read_sweep(folder))]
    assert old[0] == "ImageFolders.resnet50.ERM.Real_World.0"
    assert old[0] != new[0]


def test_a_report_counts_the_trials_that_the_driver_plans(folder):
    space = {"lr": {"choice": [1e-4, 1e-3]}, "weight_decay": 0, "dropout": 0}
    planned = several(algorithms=["ERM", "SAM"], search={"trials": 6, "space": space})
    begin(planned, folder)
    trials = sum(plan.trials for plan in plans(planned).values())
    assert trials == 4 * (2 + 6)
    assert read(folder.uri).planned == trials


def test_tables_of_another_sweep_are_refused(tmp_path):
    folder = write(tmp_path / "run", trials=1)
    fewer = folder.read_bytes(SWEEP).replace(b"- SAM\n", b"")
    folder.write_bytes(SWEEP, fewer)
    with pytest.raises(SteppeError, match=r"trials of PACS\.resnet50\.SAM\..*sweep\.yaml does not"):
        results.load(folder.uri)
