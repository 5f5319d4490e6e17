from __future__ import annotations

from dataclasses import dataclass

import pytest

from training import algorithms
from training.algorithms import PARTS, build, compares_domains, hyperparameters, parse
from training.algorithms.alignment import CORAL
from training.algorithms.asam import ASAM
from training.algorithms.disam import DISAM
from training.algorithms.gga import GGA
from training.algorithms.sagm import SAGM
from training.schedules import Schedule
from training.update import Update


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ERM", ()),
        ("DISAM", ("DISAM", "SAM")),
        ("ASAM", ("ASAM", "SAM")),
        ("ASAM+DISAM", ("ASAM", "DISAM", "SAM")),
        ("DISAM+SAGM", ("DISAM", "SAGM")),
        ("GGA", ("GGA",)),
        ("VaSSO", ("VaSSO", "SAM")),
        ("GAM", ("GAM",)),
        ("DISAM+SAGM+CORAL", ("DISAM", "SAGM", "CORAL")),
        ("DISAM+CORAL", ("DISAM", "CORAL", "SAM")),
    ],
)
def test_a_name_is_its_parts_completed_by_sam_where_only_the_ascent_is_shaped(name, parts):
    assert parse(name) == parts


def test_hyperparameters_are_those_of_the_parts_with_their_defaults():
    assert hyperparameters("ERM") == {}
    assert hyperparameters("DISAM+SAGM") == {"lambda": 0.1, "rho": 0.05, "alpha": 0.001}
    assert hyperparameters("GGA") == {
        "neighborhood": 1e-5,
        "search_steps": 250,
        "start": 100,
        "length": 100,
        "tolerance": 0.1,
    }


@pytest.mark.parametrize(
    ("name", "rho"),
    [
        ("ASAM", 0.5),
        ("ASAM-elementwise", 0.5),
        ("ASAM+SAGM", 0.5),
        ("SAGM+ASAM", 0.5),
        ("VaSSO", 0.1),
        ("F-SAM", 0.2),
        ("VaSSO+ASAM", 0.5),
        ("ASAM+VaSSO", 0.5),
    ],
)
def test_the_default_radius_is_that_of_the_part_that_knows_best(name, rho):
    assert hyperparameters(name)["rho"] == rho


def test_a_number_that_would_mean_two_things_is_refused(monkeypatch):
    @dataclass(frozen=True)
    class Twin(CORAL):
        theta: float = 1.0

    monkeypatch.setitem(PARTS, "Twin", Twin)
    with pytest.raises(ValueError, match="VaSSO and Twin both have a hyperparameter 'theta'"):
        parse("VaSSO+SAM+Twin")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SAMG", "unknown algorithm 'SAMG'; did you mean SA"),
        ("sam", "unknown algorithm 'sam'; did you mean SAM?"),
        ("DISAM+SAMG", "unknown algorithm 'SAMG' in 'DISAM\\+SAMG'; did you mean"),
        ("ERM+SAM", "'ERM' in 'ERM\\+SAM' is the update without any part; leave it out"),
        ("SAM+x", "unknown algorithm 'x' in 'SAM\\+x'; there are: SAM,"),
        ("", "unknown algorithm ''; there are: ERM, zero-shot, SAM,"),
        ("SAM+SAM", "SAM\\+SAM names SAM twice"),
        ("SAM+GSAM", "'SAM\\+GSAM' does not compose: SAM and GSAM both say how far"),
        ("GAM+DISAM", "GAM makes climbs of its own, which leave nothing for DISAM to shape"),
        ("CORAL+Mixup", "Mixup mixes .* CORAL must tell"),
        ("CORAL+GGA-L+Fish", "Fish sees one domain at a time, and CORAL needs several at once"),
    ],
)
def test_a_wrong_name_is_refused_with_a_way_out(name, message):
    with pytest.raises(ValueError, match=message):
        parse(name)


def test_a_hyperparameter_that_the_algorithm_lacks_is_refused():
    with pytest.raises(ValueError, match="SAM has no hyperparameter 'alpha'; it has: rho"):
        build("SAM", {"alpha": 0.1})
    with pytest.raises(ValueError, match="ERM has no hyperparameter 'rho'; it has: none"):
        build("ERM", {"rho": 0.1})


def owner(slot: object) -> object:
    return slot.__self__  # type: ignore[attr-defined]


def test_a_name_builds_what_its_parts_compose_with_their_values_and_the_schedule():
    schedule = Schedule("cosine", 10)

    update = build("DISAM+ASAM+SAGM", {"rho": 0.2, "lambda": 0.7, "eta": 0.2}, schedule)

    assert owner(update.scale) == SAGM(0.2, 0.001, schedule)
    assert owner(update.steering) == DISAM(0.7)
    assert owner(update.metric) == ASAM(0.2)
    assert owner(build("ASAM+SAGM", {}).scale) == SAGM(0.5)
    assert build("ERM", {}) == Update()


def test_whole_numbers_stay_whole_when_they_come_as_floats():
    search = owner(build("GGA", {"search_steps": 10.0, "start": 5.0}).before)

    assert search == GGA(search_steps=10, start=5)
    assert isinstance(search.search_steps, int)


def test_domains_are_compared_by_what_one_domain_makes_into_something_simpler():
    comparing = "DISAM GGA GGA-L CORAL MMD VREx GroupDRO Mixup Fishr"
    assert [name for name in PARTS if compares_domains(name)] == comparing.split()
    assert compares_domains("DISAM+SAGM")
    assert not compares_domains("ERM")


@pytest.mark.parametrize("part", PARTS)
def test_every_part_names_its_cost_and_its_paper(part):
    assert PARTS[part].cost
    assert "arXiv" in PARTS[part].paper
    assert algorithms.part_hyperparameters(part).keys() <= hyperparameters(part).keys()
