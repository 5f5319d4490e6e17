import dataclasses

import pytest

import datasets
from search.checks.load_sweep import checked
from search.errors import UserError
from search.study.studies import Study, studies
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


def test_an_id_has_no_characters_that_files_or_tables_stumble_over():
    study = Study("Office/Home", "res net.50", "GGA-L+SAM", "Real World", 1)
    assert study.id == "Office_Home.res_net_50.GGA-L+SAM.Real_World.1"


def test_domains_that_would_share_files_are_refused(monkeypatch):
    entry = datasets.DATASETS["RotatedDigits"]
    description = dataclasses.replace(entry.description, domains=("a b", "a_b", "c"))
    twins = dataclasses.replace(entry, description=description)
    monkeypatch.setitem(datasets.DATASETS, "Twins", twins)
    with pytest.raises(UserError, match="'a b' and 'a_b' of Twins"):
        sweep(dataset={"name": "Twins"}, held_out="all")
